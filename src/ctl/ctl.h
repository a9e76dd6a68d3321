/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What vasctl's verbs share: options, the daemon's answers, output. */

#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include "core/cpuset.h"

/* Exit statuses, as documented. */
enum {
        EXIT_DONE = 0,
        EXIT_FAILED = 1,
        EXIT_USAGE = 2,
        EXIT_NO_VM = 3,
        EXIT_NO_DAEMON = 4,
        EXIT_NOT_PERMITTED = 5,
};

typedef struct Verb Verb;

typedef struct Ctl {
        const Verb *verb;
        const char *socket, *default_socket; /* the former wins; NULL: not given */
        const char *root;       /* where a directory of files stands in for the host, in tests; "" */
        bool json;
        bool terminal;  /* stdout is one */
        bool colour;
        bool moves_cursor; /* the terminal understands how to */
        unsigned width, height; /* columns and lines to fill at most */
} Ctl;

struct Verb {
        const char *group, *name; /* "set" "config"; group is NULL for our own verbs */
        const char *arguments;    /* for the usage line */
        const char *summary;      /* half a line */
        const char *details;      /* lines for the verb's own help; NULL: none */
        /* What the shells complete is read from arguments and details: see complete.c. */
        bool query;               /* knows --json */
        /* Returns the exit status. */
        int (*run)(Ctl *ctl, int argc, char **argv);
};

extern const Verb verbs[];
extern const size_t n_verbs;

/* Of complete_line(): a file name is wanted, which the shell knows best. */
enum { COMPLETE_FILE = 1 };

/* Prints what the last of the words of a line behind "vasctl" may become. Returns
 * EXIT_DONE, or COMPLETE_FILE. */
int complete_line(Ctl *ctl, int argc, char **argv);

int run_capture(Ctl *ctl, int argc, char **argv);
int run_check(Ctl *ctl, int argc, char **argv);
int run_events(Ctl *ctl, int argc, char **argv);
int run_explain(Ctl *ctl, int argc, char **argv);
int run_get(Ctl *ctl, int argc, char **argv);
int run_list(Ctl *ctl, int argc, char **argv);
int run_map(Ctl *ctl, int argc, char **argv);
int run_measure(Ctl *ctl, int argc, char **argv);
int run_metrics(Ctl *ctl, int argc, char **argv);
int run_opt_reassign(Ctl *ctl, int argc, char **argv);
int run_opt_recover(Ctl *ctl, int argc, char **argv);
int run_pause(Ctl *ctl, int argc, char **argv);
int run_plan(Ctl *ctl, int argc, char **argv);
int run_query_affinity(Ctl *ctl, int argc, char **argv);
int run_reassign(Ctl *ctl, int argc, char **argv);
int run_recover(Ctl *ctl, int argc, char **argv);
int run_report(Ctl *ctl, int argc, char **argv);
int run_resume(Ctl *ctl, int argc, char **argv);
int run_set(Ctl *ctl, int argc, char **argv);
int run_set_config(Ctl *ctl, int argc, char **argv);
int run_show(Ctl *ctl, int argc, char **argv);
int run_status(Ctl *ctl, int argc, char **argv);
int run_top(Ctl *ctl, int argc, char **argv);

/* Looks at the terminal's size again. */
void ctl_measure(Ctl *ctl);

void help_print(void);
void help_print_verb(const Verb *verb);

/* --- options --- */

typedef struct Option {
        const char *brief, *name; /* "-sp", "--sched-policy"; brief may be NULL */
        const char **value;       /* where the value goes; NULL: it is a flag */
        bool *flag;
} Option;

/*
 * Takes options and at most max_words other words; --socket, and --json for a
 * query, are known everywhere. Returns EXIT_DONE, or EXIT_USAGE after having
 * said what is wrong.
 */
int options_parse(Ctl *ctl, int argc, char **argv, const Option *options, size_t n_options, const char **words,
                  size_t max_words, size_t *ret_words);
/* The same for verbs that take nothing, and for those that take one VM. */
int options_none(Ctl *ctl, int argc, char **argv);
int options_one_vm(Ctl *ctl, int argc, char **argv, const Option *options, size_t n_options, const char **ret_vm);

/* --- the daemon --- */

typedef struct Answer {
        int status;         /* an exit status; EXIT_DONE: parameters are there */
        bool no_vms;        /* failed because there is no VM at all */
        char *why;          /* what to tell the user; NULL on success */
        json_t *parameters; /* owned */
} Answer;

/* Calls a method of VAS_INTERFACE and waits; parameters is stolen, may be NULL. */
void daemon_call(const Ctl *ctl, const char *method, json_t *parameters, Answer *ret);
void answer_done(Answer *answer);
/* The same for a step on the way: where it fails, the user is told and *ret_status
 * says so. A host without VMs is no failure. Returns whether to go on. */
bool daemon_ask(const Ctl *ctl, const char *method, json_t *parameters, Answer *ret, int *ret_status);

/* A method that answers many times. NULL: *ret says why. */
typedef struct Stream Stream;
Stream *daemon_follow(const Ctl *ctl, const char *method, json_t *parameters, Answer *ret);
/* Waits for the next answer, however long that takes. */
void stream_next(Stream *stream, Answer *ret);
Stream *stream_close(Stream *stream);

/* --- output --- */

/* Says on both streams that the command failed; returns status. */
int fail(const Ctl *ctl, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same for an answer that is not EXIT_DONE. */
int fail_answer(const Ctl *ctl, const Answer *answer);

/* One line, "vasctl: ...", on stderr. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Newly allocated text in which everything that could move the cursor, change
 * colours, reverse the line or hide itself is spelled out. NULL: no memory.
 */
char *text_clean(const char *text);
/* What printf would print, cleaned likewise. */
char *text_format(const char *format, va_list args) __attribute__((format(printf, 1, 0)));
/* Columns that a clean text takes. */
unsigned text_width(const char *clean);
/* Cuts a clean text to at most width columns, with a mark where it was cut. */
void text_cut(char *clean, unsigned width);

typedef enum Colour { COLOUR_NONE, COLOUR_BOLD, COLOUR_DIM, COLOUR_GOOD, COLOUR_WARN, COLOUR_BAD } Colour;
const char *colour_start(const Ctl *ctl, Colour colour);
const char *colour_end(const Ctl *ctl, Colour colour);
Colour verdict_colour(const char *verdict);

/* JSON in ASCII, so that no raw control character of a name gets through. */
void print_json(const json_t *value, bool compact);
/* Prints clean text word by word, no line longer than the width; the first line
 * starts with first, the others with blanks as many. */
void print_wrapped(const Ctl *ctl, const char *first, const char *clean);
/* Any text, cleaned, to stdout. */
void print_clean(const char *text);

enum { LABEL_WIDTH = 10 };
void print_label(const Ctl *ctl, const char *text);
void print_bar(const Ctl *ctl, long long part, long long whole);

/* The moves of a plan, but for those of a VM that does not exist yet; would: they
 * are not made. Returns how many there are; prints nothing for none. */
size_t print_plan_moves(const json_t *moves, bool would);
/* What of the host's score is above 0, before and after. */
void print_scores(const json_t *before, const json_t *after);

/* --- members of answers, with defaults for what is missing --- */

const char *get_string(const json_t *object, const char *key);
long long get_number(const json_t *object, const char *key);
double get_real(const json_t *object, const char *key);
bool get_bool(const json_t *object, const char *key);
/* Milliseconds for which the vCPU's thread was ready and had to wait; -1: not known. */
double run_delay_ms(const json_t *vm, const json_t *vcpu);
/* A time here, as strftime() writes it; "?" when it can not. */
enum { TIME_TEXT_SIZE = 40 };
void time_text(time_t seconds, const char *format, char ret[TIME_TEXT_SIZE]);
/* When an event was. */
time_t event_time(const json_t *event);
/* The ending of a counted noun. */
const char *plural(long long n);
/* The CPUs of a NUMA node of GetHost's. */
void node_cpus(const json_t *node, CpuSet *ret);
/* "0-3,8" of an array of numbers, newly allocated. */
char *get_list(const json_t *object, const char *key);

/*
 * What is wrong with the pins of a VM that its operator pinned: "3 clusters where 1
 * would do, 1 CPU pinned twice", and in single words, but for the clusters. Newly
 * allocated; NULL: nothing, or another VM.
 */
char *pins_judged(const json_t *vm);
char *pins_marks(const json_t *vm);

/* --- tables --- */

enum { TABLE_COLUMNS_MAX = 8 };

typedef struct Cell {
        char *text; /* clean */
        Colour colour;
} Cell;

typedef struct Table {
        unsigned n_columns;
        size_t n_cells;
        const char *title[TABLE_COLUMNS_MAX];
        bool right[TABLE_COLUMNS_MAX];
        Cell *cell;
        bool failed; /* memory ran out */
} Table;

void table_title(Table *table, const char *title, bool right);
/* Cells of a row are added from left to right; the text need not be clean. */
void table_add(Table *table, Colour colour, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A run delay in milliseconds; negative: "-". */
void table_add_delay(Table *table, double ms);
void table_print(const Ctl *ctl, const Table *table);
void table_done(Table *table);

/* --- a screen of its own --- */

/* Takes the terminal; false: there is none, or none to draw on. */
bool screen_begin(const Ctl *ctl);
void screen_end(void);
void screen_clear(void);
/* Shows what was printed and waits so long for a key. Returns it; 0: none came, or
 * the screen has another size now. */
int screen_wait(int ms);
