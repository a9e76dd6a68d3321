/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Reads traces and snapshot sets. Each line is checked against what came
 * before it, so that the replay never meets a VM that is created twice or
 * destroyed before it was born, and so that whoever wrote the file learns the
 * line. Names are looked up in an open hash table of the VMs seen so far, in
 * which a name that is used again simply points at its latest VM.
 */

#include "sim/trace.h"

#include "core/snapshot.h"
#include "util/cleanup.h"
#include "util/cpulist.h"

#include <errno.h>
#include <string.h>

enum {
        LINE_MAX_BYTES = 65536,
        EVENTS_MAX = 10000000,
        FIELDS_MAX = 6,
        SECOND_NS = 1000000000,
};

typedef struct Reader {
        const char *path;
        uint32_t line;
        TraceForm form;
        Trace *trace;
        Complaint *why;
        bool *alive;      /* by VM */
        uint32_t *bucket; /* VM + 1; 0: empty */
        uint32_t n_buckets, room_events, room_vms;
        uint32_t vms_now, vcpus_now;
        int64_t last_ns;
} Reader;

#define REFUSE(reader, format, ...)                                            \
        complain((reader)->why, "%s:%u: " format, (reader)->path, (reader)->line __VA_OPT__(, ) __VA_ARGS__)

static uint32_t name_hash(const char *name) {
        uint32_t hash = 2166136261U;

        for (; *name; name++)
                hash = (hash ^ (unsigned char)*name) * 16777619U;
        return hash;
}

/* The bucket that holds the name, or the empty one where it would go. */
static uint32_t name_bucket(const Reader *reader, const char *name) {
        uint32_t i = name_hash(name) & (reader->n_buckets - 1);

        while (reader->bucket[i] && strcmp(reader->trace->vm[reader->bucket[i] - 1].name, name) != 0)
                i = (i + 1) & (reader->n_buckets - 1);
        return i;
}

static int names_grow(Reader *reader) {
        uint32_t n = reader->n_buckets ? reader->n_buckets * 2 : 1024;
        uint32_t *bucket = calloc(n, sizeof(*bucket));

        if (!bucket)
                return -ENOMEM;
        free(reader->bucket);
        reader->bucket = bucket;
        reader->n_buckets = n;
        for (uint32_t vm = 0; vm < reader->trace->n_vms; vm++)
                reader->bucket[name_bucket(reader, reader->trace->vm[vm].name)] = vm + 1;
        return 0;
}

static int vms_grow(Reader *reader) {
        Trace *trace = reader->trace;
        uint32_t room = reader->room_vms ? reader->room_vms * 2 : 256;
        TraceVm *vm = reallocarray(trace->vm, room, sizeof(*vm));

        if (!vm)
                return -ENOMEM;
        trace->vm = vm;
        bool *alive = reallocarray(reader->alive, room, sizeof(*alive));
        if (!alive)
                return -ENOMEM;
        reader->alive = alive;
        reader->room_vms = room;
        return 0;
}

static int event_add(Reader *reader, int64_t time_ns, EventKind kind, uint32_t vm, SetId range) {
        Trace *trace = reader->trace;

        if (trace->n_events == EVENTS_MAX)
                return REFUSE(reader, "more than %d events", EVENTS_MAX);
        if (trace->n_events == reader->room_events) {
                uint32_t room = reader->room_events ? reader->room_events * 2 : 1024;
                Event *event = reallocarray(trace->event, room, sizeof(*event));
                if (!event)
                        return -ENOMEM;
                trace->event = event;
                reader->room_events = room;
        }
        trace->event[trace->n_events++] =
                (Event){.time_ns = time_ns, .kind = kind, .vm = vm, .range = range, .line = reader->line};
        return 0;
}

static int take_range(Reader *reader, const char *text, SetId *ret) {
        CpuSet set;
        int r = cpulist_parse(text, &set);

        if (r == -ERANGE)
                return REFUSE(reader, "CPU list \"%.100s\": CPU numbers end at %d", text, CPUS_MAX - 1);
        if (r < 0 || cpuset_is_empty(&set))
                return REFUSE(reader, "\"%.100s\" is no CPU list", text);
        SetId id = pool_intern(&reader->trace->ranges, &set);
        if (id == SET_NONE)
                return REFUSE(reader, "more than %d different CPU lists", POOL_SETS_MAX);
        *ret = id;
        return 0;
}

static int take_vcpus(Reader *reader, const char *text, uint16_t *ret) {
        char *end;
        unsigned long n = strtoul(text, &end, 10);

        if (*text < '0' || *text > '9' || *end || n == 0 || n > VM_VCPUS_MAX)
                return REFUSE(reader, "\"%.100s\" is no number of vCPUs from 1 to %d", text, VM_VCPUS_MAX);
        *ret = (uint16_t)n;
        return 0;
}

/* Seconds, with up to nine digits after a point. */
static int take_time(Reader *reader, const char *text, int64_t *ret) {
        const char *p = text;
        int64_t ns = 0, unit = SECOND_NS;

        for (; *p >= '0' && *p <= '9' && ns < INT64_MAX / SECOND_NS / 20; p++)
                ns = ns * 10 + (*p - '0');
        ns *= SECOND_NS;
        if (*p == '.' && p > text)
                for (p++; *p >= '0' && *p <= '9' && unit > 1; p++)
                        ns += (*p - '0') * (unit /= 10);
        if (p == text || *p)
                return REFUSE(reader, "\"%.100s\" is no time in seconds", text);
        if (ns < reader->last_ns)
                return REFUSE(reader, "time %s runs backwards", text);
        reader->last_ns = *ret = ns;
        return 0;
}

/* Counts a new VM in, unless it would burst what a host can hold. */
static int vm_add(Reader *reader, const char *name, uint16_t n_vcpus, uint32_t *ret) {
        Trace *trace = reader->trace;

        if (reader->vms_now == VMS_MAX || reader->vcpus_now + n_vcpus > VCPUS_MAX)
                return REFUSE(reader, "more than %d VMs or %d vCPUs at a time", VMS_MAX, VCPUS_MAX);
        if (trace->n_vms == reader->room_vms && vms_grow(reader) < 0)
                return -ENOMEM;
        if (2 * (trace->n_vms + 1) > reader->n_buckets && names_grow(reader) < 0)
                return -ENOMEM;
        char *copy = strdup(name);
        if (!copy)
                return -ENOMEM;
        uint32_t bucket = name_bucket(reader, name);
        *ret = trace->n_vms++;
        trace->vm[*ret] = (TraceVm){.name = copy, .n_vcpus = n_vcpus};
        reader->alive[*ret] = true;
        reader->bucket[bucket] = *ret + 1;
        reader->vms_now++;
        reader->vcpus_now += n_vcpus;
        return 0;
}

/* The VM of that name that is alive now, -1 if there is none. */
static int64_t vm_alive(const Reader *reader, const char *name) {
        uint32_t entry = reader->n_buckets ? reader->bucket[name_bucket(reader, name)] : 0;

        return entry && reader->alive[entry - 1] ? (int64_t)entry - 1 : -1;
}

static int read_create(Reader *reader, int64_t time_ns, char **field) {
        uint16_t n_vcpus = 0;
        uint32_t vm = 0;
        SetId range = SET_NONE;
        int r;

        if (strlen(field[0]) >= VM_NAME_SIZE)
                return REFUSE(reader, "a name longer than %d bytes", VM_NAME_SIZE - 1);
        if (vm_alive(reader, field[0]) >= 0)
                return REFUSE(reader, "VM %s is created twice", field[0]);
        r = take_vcpus(reader, field[1], &n_vcpus);
        if (r == 0)
                r = take_range(reader, field[2], &range);
        if (r == 0)
                r = vm_add(reader, field[0], n_vcpus, &vm);
        return r ? r : event_add(reader, time_ns, EVENT_CREATE, vm, range);
}

static int read_destroy(Reader *reader, int64_t time_ns, char **field) {
        int64_t vm = vm_alive(reader, field[0]);

        if (vm < 0)
                return REFUSE(reader, "there is no VM %.100s to destroy", field[0]);
        reader->alive[vm] = false;
        reader->vms_now--;
        reader->vcpus_now -= reader->trace->vm[vm].n_vcpus;
        return event_add(reader, time_ns, EVENT_DESTROY, (uint32_t)vm, SET_NONE);
}

static int read_range(Reader *reader, int64_t time_ns, char **field) {
        int64_t vm = vm_alive(reader, field[0]);
        SetId range = SET_NONE;

        if (vm < 0)
                return REFUSE(reader, "there is no VM %.100s to change", field[0]);
        int r = take_range(reader, field[1], &range);
        return r ? r : event_add(reader, time_ns, EVENT_RANGE, (uint32_t)vm, range);
}

static int read_trace_line(Reader *reader, char **field, unsigned n_fields) {
        bool create = n_fields == 5 && strcmp(field[1], "create") == 0;
        bool range = n_fields == 4 && strcmp(field[1], "range") == 0;
        bool destroy = n_fields == 3 && strcmp(field[1], "destroy") == 0;
        int64_t time_ns = 0;

        if (!create && !range && !destroy)
                return REFUSE(reader, "not `TIME create NAME VCPUS CPULIST`, `TIME range NAME CPULIST` or "
                                      "`TIME destroy NAME`");
        int r = take_time(reader, field[0], &time_ns);
        if (r)
                return r;
        if (create)
                return read_create(reader, time_ns, field + 2);
        return range ? read_range(reader, time_ns, field + 2) : read_destroy(reader, time_ns, field + 2);
}

static int read_heading(Reader *reader, const char *name) {
        Trace *trace = reader->trace;
        char **heading = reallocarray(trace->heading, trace->n_headings + 1, sizeof(*heading));

        if (!heading)
                return -ENOMEM;
        trace->heading = heading;
        heading[trace->n_headings] = strdup(name);
        if (!heading[trace->n_headings])
                return -ENOMEM;
        reader->vms_now = reader->vcpus_now = 0;
        return event_add(reader, 0, EVENT_SNAPSHOT, trace->n_headings++, SET_NONE);
}

static int read_snapshot_line(Reader *reader, char **field, unsigned n_fields) {
        char name[32];

        if (n_fields == 2 && strcmp(field[0], "snapshot") == 0)
                return read_heading(reader, field[1]);
        if (n_fields != 3 || strcmp(field[0], "vm") != 0)
                return REFUSE(reader, "neither `snapshot NAME` nor `vm VCPUS CPULIST`");
        if (reader->trace->n_headings == 0)
                return REFUSE(reader, "a VM before the first `snapshot NAME`");
        snprintf(name, sizeof(name), "vm%u", reader->trace->n_vms);
        return read_create(reader, 0, (char *[]){name, field[1], field[2]});
}

static int read_comment(Reader *reader, const char *text) {
        static const char key[] = "# topology:";

        if (reader->trace->topology || strncmp(text, key, sizeof(key) - 1) != 0)
                return 0;
        text += sizeof(key) - 1;
        text += strspn(text, " \t");
        reader->trace->topology = strdup(text);
        return reader->trace->topology ? 0 : -ENOMEM;
}

static int read_line(Reader *reader, char *text) {
        char *field[FIELDS_MAX], *rest = NULL;
        unsigned n = 0;

        text[strcspn(text, "\r\n")] = '\0';
        if (text[0] == '#')
                return read_comment(reader, text);
        for (char *p = strtok_r(text, " \t", &rest); p; p = strtok_r(NULL, " \t", &rest)) {
                if (n == FIELDS_MAX)
                        return REFUSE(reader, "too many words");
                field[n++] = p;
        }
        if (n == 0)
                return 0;
        return reader->form == FORM_TRACE ? read_trace_line(reader, field, n) : read_snapshot_line(reader, field, n);
}

static int read_lines(Reader *reader, FILE *file) {
        AUTO_FREE char *text = NULL;
        size_t size = 0;

        for (;;) {
                reader->line++;
                errno = 0;
                ssize_t length = getline(&text, &size, file);
                if (length < 0)
                        break;
                if (length > LINE_MAX_BYTES)
                        return REFUSE(reader, "a line longer than %d bytes", LINE_MAX_BYTES);
                if (strlen(text) != (size_t)length)
                        return REFUSE(reader, "a NUL byte: this is no text file");
                int r = read_line(reader, text);
                if (r)
                        return r;
        }
        if (ferror(file))
                return complain(reader->why, "%s: %s", reader->path, strerror(errno));
        if (reader->trace->n_events == 0)
                return complain(reader->why, "%s: nothing to replay in it", reader->path);
        return 0;
}

int trace_read(FILE *file, const char *path, TraceForm form, Trace **ret, Complaint *ret_why) {
        CLEANUP(cleanup_trace) Trace *trace = calloc(1, sizeof(*trace));
        Reader reader = {.path = path, .form = form, .trace = trace, .why = ret_why};

        if (!trace)
                return -ENOMEM;
        int r = read_lines(&reader, file);
        free(reader.alive);
        free(reader.bucket);
        if (r == 0)
                *ret = STEAL_PTR(trace);
        return r;
}

int trace_load(const char *path, TraceForm form, Trace **ret, Complaint *ret_why) {
        if (strcmp(path, "-") == 0)
                return trace_read(stdin, "standard input", form, ret, ret_why);

        AUTO_FCLOSE FILE *file = fopen(path, "re");
        if (!file)
                return complain(ret_why, "%s: %s", path, strerror(errno));
        return trace_read(file, path, form, ret, ret_why);
}

Trace *trace_free(Trace *trace) {
        if (!trace)
                return NULL;
        for (uint32_t i = 0; i < trace->n_vms; i++)
                free(trace->vm[i].name);
        for (uint32_t i = 0; i < trace->n_headings; i++)
                free(trace->heading[i]);
        free(trace->vm);
        free(trace->event);
        free(trace->heading);
        free(trace->topology);
        free(trace);
        return NULL;
}
