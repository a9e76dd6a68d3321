/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A session with the whole service: each line of the input is a call, sent on a
 * connection of its own,
 *
 *   ListVms?scope=web1&detail=true
 *
 * A value is JSON where it can be read as that, and else text. Before the method:
 * '+' asks for more, '-' for no answer, '*' goes on before there is an answer. Lines
 * that begin with '=' are what happens to the host (see happen()). The service is
 * started and stopped around each input, in a directory of its own: over a modelled
 * host, with a link to libvirt that is always quick, and without the journal. Each
 * call gets one answer, of the form that the interface declares, with its members.
 */

#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/server.h"
#include "model_service.h"
#include "platform/topology_hwloc.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/replace.h"
#include "wire/names.h"

enum { CALLS_MAX = 16, TURNS_MAX = 20000 };

typedef struct Call {
        int fd;
        bool legal, more, oneway;
        char *method;
        char *text; /* what was answered */
        size_t used, size;
        bool closed;
} Call;

static char directory[32], socket_path[64];
static Settings settings;
static const char *input;
static Call calls[CALLS_MAX];
static unsigned n_calls;

/* The linker puts these in place of what they are named after. */
int __wrap_sd_event_loop(sd_event *event);
int __wrap_sd_event_add_signal(sd_event *event, sd_event_source **ret, int sig,
                               sd_event_signal_handler_t handler, void *userdata);
char *__wrap_topology_export_xml(const char *description, const char *root, ClusterLevel level);
void __wrap_log_line(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __real_file_replace(const char *path, const char *text, bool durable);
int __wrap_file_replace(const char *path, const char *text, bool durable);

/* The fuzzer has them for itself. */
int __wrap_sd_event_add_signal(sd_event *event, sd_event_source **ret, int sig,
                               sd_event_signal_handler_t handler, void *userdata) {
        (void)event, (void)ret, (void)sig, (void)handler, (void)userdata;
        return 0;
}

/* A look at this machine would take nearly all of the time. */
char *__wrap_topology_export_xml(const char *description, const char *root, ClusterLevel level) {
        (void)description, (void)root, (void)level;
        return strdup("<topology>\n<info name=\"HostName\" value=\"h\"/>\n<info name=\"DMI\" "
                      "value=\"d\"/>\n</topology>\n");
}

void __wrap_log_line(int level, const char *format, ...) {
        char line[4096];
        va_list args;

        (void)level;
        va_start(args, format);
        must(vsnprintf(line, sizeof(line), format, args) >= 0);
        va_end(args);
}

/* A client names the file of the metrics, and this process may be root's. */
int __wrap_file_replace(const char *path, const char *text, bool durable) {
        size_t length = strlen(directory);

        (void)durable;
        if (strncmp(path, directory, length) != 0 || path[length] != '/' || strchr(path + length + 1, '/'))
                return -EACCES;
        return __real_file_replace(path, text, false);
}

/* Where a list of members begins: "(a: type, b: type)"; NULL: not declared. */
static const char *declared(const char *keyword, const char *name) {
        char line[128];
        const char *at;

        if (snprintf(line, sizeof(line), "\n%s %s", keyword, name) >= (int)sizeof(line))
                return NULL;
        at = strstr(vas_interface_text, line);
        at = at ? at + strlen(line) : NULL;
        return at && (*at == '(' || *at == ' ') ? strchr(at, '(') : NULL;
}

static bool lists(const char *list, const char *member) {
        size_t length = strlen(member);

        for (const char *at = list; at && *at != ')'; at = strpbrk(at + 1, ",)"))
                if (strncmp(at + 1 + (*at == ','), member, length) == 0 &&
                    at[1 + (*at == ',') + length] == ':')
                        return true;
        return false;
}

static size_t count(const char *list) {
        size_t n = 0;

        for (; *list != ')'; list++)
                n += *list == ':';
        return n;
}

static void must_have_members(const char *list, json_t *object) {
        const char *name;
        json_t *value;

        must(list && json_object_size(object) == count(list));
        json_object_foreach (object, name, value)
                must(lists(list, name));
}

static void check_error(const Call *call, const char *error, json_t *parameters) {
        const char *name = strrchr(error, '.') + 1, *own = strrchr(call->method, '.') + 1;
        const char *parameter = json_string_value(json_object_get(parameters, "parameter"));

        if (strncmp(error, "org.varlink.service.", 20) != 0) {
                must((size_t)(name - error) == sizeof(VAS_INTERFACE) &&
                     strncmp(error, VAS_INTERFACE ".", sizeof(VAS_INTERFACE)) == 0);
                must_have_members(declared("error", name), parameters);
        } else if (strcmp(name, "InvalidParameter") == 0)
                must(json_object_size(parameters) == 1 && parameter &&
                     (strcmp(parameter, "interface") == 0 || lists(declared("method", own), parameter)));
        else
                must((strcmp(name, "MethodNotFound") == 0 || strcmp(name, "InterfaceNotFound") == 0) &&
                     json_object_size(parameters) == 1);
}

/* One message of an answer, without its NUL. Returns whether more will come. */
static bool check_message(const Call *call, const char *text, size_t length) {
        VarlinkReply reply;
        bool goes_on;

        for (size_t i = 0; i < length; i++)
                must((unsigned char)text[i] >= ' ');
        must(varlink_reply_parse(text, length, &reply) == 0);
        goes_on = reply.continues;
        if (reply.error)
                check_error(call, reply.error, reply.parameters);
        else if (strncmp(call->method, VAS_INTERFACE ".", sizeof(VAS_INTERFACE)) == 0)
                must_have_members(strchr(declared("method", call->method + sizeof(VAS_INTERFACE)), '>') + 2,
                                  reply.parameters);
        varlink_reply_done(&reply);
        return goes_on;
}

static void check_answer(const Call *call) {
        const char *at = call->text, *end = at + call->used, *nul;
        bool goes_on = false;
        unsigned n = 0;

        for (; at < end; at = nul + 1) {
                nul = memchr(at, '\0', (size_t)(end - at));
                must(nul != NULL && (n == 0 || goes_on));
                goes_on = check_message(call, at, (size_t)(nul - at));
                n++;
        }
        must(call->closed == !call->legal);
        must((n > 0) == (call->legal && !call->oneway));
        must(!goes_on || call->more);
}

/* Reads what is there. Returns whether it was anything. */
static bool drain(Call *call) {
        ssize_t n = -1;
        bool any = false;

        while (!call->closed) {
                if (call->used == call->size)
                        must((call->text = realloc(call->text, call->size = call->size * 2 + 8192)) != NULL);
                n = read(call->fd, call->text + call->used, call->size - call->used);
                call->closed = n == 0;
                if (n <= 0)
                        break;
                call->used += (size_t)n;
                any = true;
        }
        must(n >= 0 || call->closed || errno == EAGAIN);
        return any;
}

/* Lets the service do all that it can do now, with clients that read. */
static void settle(sd_event *event) {
        unsigned turns = 0;
        bool any = true;

        while (any) {
                while (sd_event_run(event, 0) > 0)
                        must(++turns < TURNS_MAX);
                any = false;
                for (unsigned i = 0; i < n_calls; i++)
                        any |= drain(&calls[i]);
        }
}

static int client(void) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        strcpy(address.sun_path, socket_path);
        must(fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0);
        return fd;
}

/* name=value&... */
static json_t *parameters_of(char *text) {
        json_t *parameters = json_object();
        char *rest = NULL;

        for (char *one = text ? strtok_r(text, "&", &rest) : NULL; one; one = strtok_r(NULL, "&", &rest)) {
                char *value = strchr(one, '=');
                json_t *json;

                if (!value)
                        continue;
                *value++ = '\0';
                json = json_loads(value, JSON_DECODE_ANY, NULL);
                json_object_set_new(parameters, one, json ? json : json_string(value));
        }
        return parameters;
}

static void send_call(Call *call, char *text) {
        AUTO_FREE char *message = NULL;
        VarlinkCall parsed;
        json_t *json;
        size_t length;

        json = json_pack("{s:s, s:o, s:b, s:b}", "method", call->method, "parameters", parameters_of(text),
                         "more", call->more, "oneway", call->oneway);
        message = json ? json_dumps(json, JSON_COMPACT) : NULL;
        json_decref(json);
        length = message ? strlen(message) : 0; /* a method that is no UTF-8: an empty message */
        call->legal =
                length < VARLINK_CALL_MAX && varlink_call_parse(message ? message : "", length, &parsed) == 0;
        if (call->legal)
                varlink_call_done(&parsed);
        call->fd = client();
        must(send(call->fd, message ? message : "", length + 1, MSG_NOSIGNAL) == (ssize_t)length + 1);
}

/* Waits for the answer, unless the line says otherwise. */
static void run_call(sd_event *event, char *line) {
        Call *call = &calls[n_calls];
        char *text;
        bool wait = true;

        if (n_calls == CALLS_MAX)
                return;
        *call = (Call){.fd = -1};
        for (; *line && strchr("+-*", *line); line++) {
                call->more |= *line == '+';
                call->oneway |= *line == '-';
                wait &= *line != '*';
        }
        text = strchr(line, '?');
        if (text)
                *text++ = '\0';
        must(asprintf(&call->method, "%s%s", strchr(line, '.') ? "" : VAS_INTERFACE ".", line) >= 0);
        send_call(call, text);
        n_calls++;
        if (wait)
                settle(event);
        else
                sd_event_run(event, 0);
}

static void start_vm(unsigned n_vcpus) {
        static const char *const names[] = {"vm", "evil\033[2J\xe2\x80\xae\xff\nname\xc2\x9b", "all", "(new)",
                                            ""};

        if (the_model.n_vms < MODEL_VMS)
                model_start(&the_model, names[the_model.last_serial % 5], n_vcpus, 0, 15);
}

/* '+': a VM of that many vCPUs comes; '-': one goes; '@': a vCPU is pinned to that
 * CPU; '!': that is how the next write ends; '?': nothing can be observed, or again;
 * '~': libvirt goes or comes back. */
static void happen(sd_event *event, const char *what) {
        unsigned number = *what ? (unsigned)strtoul(what + 1, NULL, 10) : 0;
        ModelVm *vm = the_model.n_vms ? &the_model.vm[number % the_model.n_vms] : NULL;

        if (*what == '+')
                start_vm(number % MODEL_VCPUS + 1);
        else if (*what == '-' && vm) {
                model_destroy(vm);
                model_forget(&the_model, (unsigned)(vm - the_model.vm));
        } else if (*what == '@' && vm)
                model_vcpupin(vm, 0, number % 16, number % 16);
        else if (*what == '!') {
                the_model.at_next = 0;
                the_model.n_next = 1;
                the_model.next_status[0] = number % (WRITE_RETRY + 1);
        } else if (*what == '?')
                the_model.observe_fails = !the_model.observe_fails;
        else if (*what == '~') {
                settle(event); /* who asked it to recover would wait for a second */
                the_link.up = !the_link.up;
        }
        model_event();
        if (*what == '~')
                settle(event);
}

/* In place of the loop of the running service. */
int __wrap_sd_event_loop(sd_event *event) {
        AUTO_FREE char *text = strdup(input);
        char *rest = NULL;

        must(text != NULL);
        settle(event);
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
                if (*line == '=')
                        happen(event, line + 1);
                else
                        run_call(event, line);
        settle(event);
        for (unsigned i = 0; i < n_calls; i++) {
                check_answer(&calls[i]);
                close(calls[i].fd);
                free(calls[i].method);
                free(calls[i].text);
        }
        n_calls = 0;
        return 0;
}

/* Removes what a session has left, and makes room for the next. */
static void clear_directory(void) {
        AUTO_CLOSEDIR DIR *dir = opendir(directory);

        for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir))
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        must(unlinkat(dirfd(dir), entry->d_name, 0) == 0);
}

static void tidy(void) {
        clear_directory();
        rmdir(directory);
}

static void set_up(void) {
        strcpy(directory, "/tmp/vsched-fuzz-XXXXXX");
        must(mkdtemp(directory) != NULL);
        snprintf(socket_path, sizeof(socket_path), "%s/vas.sock", directory);
        atexit(tidy);
}

static void set_scene(void) {
        model_init(&the_model, 4, 4);
        model_start(&the_model, "web1", 4, 0, 15);
        model_helper(model_start(&the_model, "db1", 6, 0, 7));
        model_vcpupin(model_start(&the_model, "legacy", 2, 0, 15), 0, 12, 12);
        model_start(&the_model, "evil\033[2J\xe2\x80\xae\xff\nname\xc2\x9b", 1, 0, 15);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        AUTO_FREE char *text = fuzz_text(data, size);
        char config[64], persisted[64];
        Options options = {.command = COMMAND_START, .config = config, .persisted = persisted};

        if (!*directory)
                set_up();
        clear_directory();
        snprintf(config, sizeof(config), "%s/vas.conf", directory);
        snprintf(persisted, sizeof(persisted), "%s/persisted.conf", directory);
        settings_defaults(&settings);
        settings.act = true;
        strcpy(settings.runtime_dir, directory);
        set_scene();
        input = text;
        must(server_run(&options, &settings) == EXIT_SUCCESS);
        close(the_link.notify_fd); /* the service leaves it to its end, as an abandoned link may write to it */
        return 0;
}
