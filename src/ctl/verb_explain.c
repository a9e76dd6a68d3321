/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl/ctl.h"
#include "util/cleanup.h"

static void print_explanation(const Ctl *ctl, const json_t *answer) {
        const json_t *vm = json_object_get(answer, "vm"), *sentence;
        const char *verdict = get_string(vm, "verdict");
        Colour colour = verdict_colour(verdict);
        size_t i;

        printf("%s", colour_start(ctl, COLOUR_BOLD));
        print_clean(get_string(vm, "name"));
        printf("%s  %s", colour_end(ctl, COLOUR_BOLD), colour_start(ctl, colour));
        print_clean(verdict);
        printf("%s\n", colour_end(ctl, colour));
        json_array_foreach (json_object_get(answer, "sentences"), i, sentence) {
                const char *text = json_string_value(sentence);
                AUTO_FREE char *clean = text_clean(text ? text : "");

                print_wrapped(ctl, "  ", clean ? clean : "");
        }
}

int run_explain(Ctl *ctl, int argc, char **argv) {
        const char *name;
        Answer answer;
        int status = options_one_vm(ctl, argc, argv, NULL, 0, &name);

        if (status != EXIT_DONE)
                return status;
        daemon_call(ctl, "Explain", json_pack("{ss}", "vm", name), &answer);
        if (answer.status != EXIT_DONE)
                status = fail_answer(ctl, &answer);
        else if (ctl->json)
                print_json(answer.parameters, false);
        else
                print_explanation(ctl, answer.parameters);
        answer_done(&answer);
        return status;
}
