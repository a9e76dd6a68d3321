/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Aligned columns. On a terminal lines are cut to its width, first in the first
 * column, which holds names, then in the last, which holds lists of CPUs;
 * elsewhere nothing is ever cut, so that a script sees all.
 */

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"

enum { GAP = 2, FIRST_WIDTH_MIN = 12, LAST_WIDTH_MIN = 8 };

void table_title(Table *table, const char *title, bool right) {
        table->title[table->n_columns] = title;
        table->right[table->n_columns++] = right;
}

void table_add(Table *table, Colour colour, const char *format, ...) {
        char *clean;
        Cell *cells;
        va_list args;

        va_start(args, format);
        clean = text_format(format, args);
        va_end(args);
        cells = clean ? realloc(table->cell, (table->n_cells + 1) * sizeof(*cells)) : NULL;
        if (!cells) {
                free(clean);
                table->failed = true;
                return;
        }
        table->cell = cells;
        cells[table->n_cells++] = (Cell){.text = clean, .colour = colour};
}

void table_done(Table *table) {
        for (size_t i = 0; i < table->n_cells; i++)
                free(table->cell[i].text);
        free(table->cell);
        *table = (Table){};
}

/* Each column as wide as its widest cell; returns the width of a line. */
static unsigned widths_of(const Table *table, unsigned widths[TABLE_COLUMNS_MAX]) {
        unsigned total = 0;

        for (unsigned c = 0; c < table->n_columns; c++) {
                widths[c] = text_width(table->title[c]);
                for (size_t i = c; i < table->n_cells; i += table->n_columns) {
                        unsigned width = text_width(table->cell[i].text);

                        widths[c] = width > widths[c] ? width : widths[c];
                }
                total += widths[c] + (c ? GAP : 0);
        }
        return total;
}

/* Takes up to excess columns off one width; returns what remains of the excess. */
static unsigned width_shrink(unsigned *width, unsigned least, unsigned excess) {
        unsigned spare = *width > least ? *width - least : 0, taken = spare < excess ? spare : excess;

        *width -= taken;
        return excess - taken;
}

static void cell_print(const Ctl *ctl, const Table *table, unsigned column, unsigned width, char *text,
                       Colour colour) {
        bool last = column + 1 == table->n_columns;
        unsigned pad;

        text_cut(text, width);
        pad = width - text_width(text);
        if (column > 0)
                printf("%*s", GAP, "");
        if (table->right[column])
                printf("%*s", (int)pad, "");
        printf("%s%s%s", colour_start(ctl, colour), text, colour_end(ctl, colour));
        if (!table->right[column] && !last)
                printf("%*s", (int)pad, "");
        if (last)
                putchar('\n');
}

void table_print(const Ctl *ctl, const Table *table) {
        unsigned widths[TABLE_COLUMNS_MAX], total = widths_of(table, widths), last = table->n_columns - 1;

        if (ctl->terminal && total > ctl->width) {
                unsigned excess = width_shrink(&widths[last], LAST_WIDTH_MIN * 3, total - ctl->width);

                excess = width_shrink(&widths[0], FIRST_WIDTH_MIN, excess);
                width_shrink(&widths[last], LAST_WIDTH_MIN, excess);
        }
        for (unsigned c = 0; c < table->n_columns; c++) {
                char title[64];

                snprintf(title, sizeof(title), "%s", table->title[c]);
                cell_print(ctl, table, c, widths[c], title, COLOUR_BOLD);
        }
        for (size_t i = 0; i < table->n_cells; i++) {
                unsigned c = (unsigned)(i % table->n_columns);

                cell_print(ctl, table, c, widths[c], table->cell[i].text, table->cell[i].colour);
        }
}
