/* Makes a record's line and writes it, in one call: the compiled half of whence.log.writer.

   Holds what the writer of a process knows of its segment, and the templates of the kinds of
   record. Comes in: a template and the values of a record as the caller gave them, by place or by
   name. Goes out: one write(2) of one line. What is not plain - a text that is not Unicode, an
   object of the user's, a line that is too long, a disk that refuses, a writer that is busy - it
   declines with None and leaves as it was: the Python half, which does the same work for every
   value, takes over. It never raises, runs no Python code of the user's, and never gives up the
   interpreter's lock, so that a line is written whole or not begun, whatever signals and threads
   do. Where the disk is slow, that lock is worth more to the other threads: it then declines for a
   while.

   The oracle is the Python half: for any values both write records that read the same, and
   `are_plain` tells apart what it does. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_FIELDS 40
#define MAX_DEPTH 100         /* whence.record.values.MAX_DEPTH */
#define MAX_PARTS 2000000     /* whence.record.values.MAX_PARTS */
#define SLOW_WRITE_NS 8000000 /* two ticks of the coarse clock */
#define STALLED_WRITE_NS 100000000
#define SLOW_FOR_NS 100000000LL
#define LONGEST_NUMBER 32
#define LARGEST_DECIMAL 1e9
#define MOST_PLACES 6
#define LEAST_PLAIN 1e-4      /* below it, encoders turn to exponents at different places */
#define ID_LENGTH 16
#define MARK "$whence"
#define MARK_LENGTH 7
#define SHARED_BYTES 1024     /* whence.log.resend.VALUE_BYTES */

/* What an interpreter's own copy of the module knows. */
typedef struct {
    PyObject *ids;         /* the namespace of whence._ids */
    PyObject *next_number; /* the name of its counter */
    PyTypeObject *template_type;
} State;

static struct PyModuleDef definition;

/* A line under construction. Every function that adds to it answers 0, or -1 where it declines. */
typedef struct {
    char *at;
    char *end;
    char exact; /* whether every byte has to be as msgspec writes it */
} Out;

static inline int
put_bytes(Out *out, const char *bytes, Py_ssize_t length)
{
    if (out->end - out->at < length)
        return -1;
    memcpy(out->at, bytes, (size_t)length);
    out->at += length;
    return 0;
}

static inline int
put_byte(Out *out, char byte)
{
    if (out->at == out->end)
        return -1;
    *out->at++ = byte;
    return 0;
}

/* RFC 8259, section 7: what has to be escaped are quotation mark, backslash and U+0000 to U+001F. */
static int
put_escaped(Out *out, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    char escape[6] = {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
    switch (byte) {
    case '"': return put_bytes(out, "\\\"", 2);
    case '\\': return put_bytes(out, "\\\\", 2);
    case '\n': return put_bytes(out, "\\n", 2);
    case '\r': return put_bytes(out, "\\r", 2);
    case '\t': return put_bytes(out, "\\t", 2);
    case '\b': return put_bytes(out, "\\b", 2);
    case '\f': return put_bytes(out, "\\f", 2);
    default: return put_bytes(out, escape, 6);
    }
}

/* Whether one of eight bytes has to be escaped. Bytes above 127 are parts of UTF-8 sequences. */
static inline int
any_to_escape(const char *bytes)
{
    const unsigned long long ones = 0x0101010101010101ULL, highs = 0x8080808080808080ULL;
    unsigned long long word, quotes, slashes;
    memcpy(&word, bytes, sizeof word);
    quotes = word ^ (ones * '"');
    slashes = word ^ (ones * '\\');
    return ((((word - ones * 0x20) & ~word) | ((quotes - ones) & ~quotes)
             | ((slashes - ones) & ~slashes)) & highs) != 0;
}

static int
put_quoted(Out *out, const char *text, Py_ssize_t length)
{
    const char *end = text + length;
    if (put_byte(out, '"') < 0)
        return -1;
    while (text < end) {
        const char *start = text;
        while (end - text >= 8 && !any_to_escape(text))
            text += 8;
        while (text < end && (unsigned char)*text >= 0x20 && *text != '"' && *text != '\\')
            text++;
        if (put_bytes(out, start, text - start) < 0)
            return -1;
        if (text < end && put_escaped(out, (unsigned char)*text++) < 0)
            return -1;
    }
    return put_byte(out, '"');
}

/* Whether an object is a text as everybody makes them. Before 3.12 an old interface makes others,
   which may have to be finished before anything is asked of them. */
static inline int
is_text(PyObject *value)
{
    return PyUnicode_CheckExact(value) && PyUnicode_IS_COMPACT(value);
}

static int
put_text(Out *out, PyObject *text)
{
    Py_ssize_t length;
    const char *utf8;
    if (PyUnicode_IS_COMPACT_ASCII(text))
        return put_quoted(out, (const char *)PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text));
    if (PyUnicode_GET_LENGTH(text) > out->end - out->at)
        return -1;
    utf8 = PyUnicode_AsUTF8AndSize(text, &length);
    if (utf8 == NULL) {
        PyErr_Clear(); /* lone surrogates */
        return -1;
    }
    return put_quoted(out, utf8, length);
}

static int
put_integer(Out *out, long long number)
{
    char digits[LONGEST_NUMBER];
    char *at = digits + sizeof digits;
    unsigned long long rest = number < 0 ? 0ULL - (unsigned long long)number
                                         : (unsigned long long)number;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0)
        *--at = '-';
    return put_bytes(out, at, digits + sizeof digits - at);
}

static int
put_long(Out *out, PyObject *number)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    return overflow ? -1 : put_integer(out, value);
}

/* Adds a number of few decimals, such as a probability or an amount of money; the fewest that tell
   it from its neighbours. A quotient is rounded as the decimal it stands for is when it is read,
   since both terms are exact (Clinger, How to Read Floating Point Numbers Accurately, 1990), so the
   number reads back as it was.

   Returns 1 if it is none. */
static int
put_decimal(Out *out, double value)
{
    double scale = 10;
    int places;
    if (!(value < LARGEST_DECIMAL && value > -LARGEST_DECIMAL) || value == 0)
        return 1;
    for (places = 1; places <= MOST_PLACES; places++, scale *= 10) {
        long long scaled = llrint(value * scale), whole, rest;
        char digits[LONGEST_NUMBER];
        int place;
        if ((double)scaled / scale != value)
            continue;
        whole = scaled / (long long)scale;
        rest = scaled % (long long)scale;
        if (scaled < 0 && whole == 0 && put_byte(out, '-') < 0)
            return -1;
        if (put_integer(out, whole) < 0)
            return -1;
        rest = rest < 0 ? -rest : rest;
        digits[0] = '.';
        for (place = places; place > 0; place--, rest /= 10)
            digits[place] = (char)('0' + rest % 10);
        return put_bytes(out, digits, places + 1);
    }
    return 1;
}

static int
put_float(Out *out, PyObject *number)
{
    double value = PyFloat_AS_DOUBLE(number);
    char *text;
    int result;
    if (value - value != 0)
        return -1; /* not a number, or infinite */
    if (out->exact && value != 0 && value > -LEAST_PLAIN && value < LEAST_PLAIN)
        return -1;
    result = put_decimal(out, value);
    if (result <= 0)
        return result;
    text = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (text == NULL) {
        PyErr_Clear();
        return -1;
    }
    /* Exponents are written in many ways. */
    result = out->exact && strchr(text, 'e') != NULL
                 ? -1
                 : put_bytes(out, text, (Py_ssize_t)strlen(text));
    PyMem_Free(text);
    return result;
}

static int
put_boolean(Out *out, PyObject *value)
{
    return value == Py_True ? put_bytes(out, "true", 4) : put_bytes(out, "false", 5);
}

static int
put_number(Out *out, PyObject *value)
{
    if (PyFloat_CheckExact(value))
        return put_float(out, value);
    return PyLong_CheckExact(value) ? put_long(out, value) : -1;
}

static int
put_named_number(Out *out, const char *name, PyObject *value)
{
    return put_bytes(out, name, (Py_ssize_t)strlen(name)) < 0 ? -1 : put_number(out, value);
}

static int put_value(Out *out, PyObject *value, int depth);

static int
is_mark(PyObject *key)
{
    return PyUnicode_IS_COMPACT_ASCII(key) && PyUnicode_GET_LENGTH(key) == MARK_LENGTH
           && memcmp(PyUnicode_1BYTE_DATA(key), MARK, MARK_LENGTH) == 0;
}

/* Whether a key can stand in JSON and is not ours: a mapping that has our key could pass for a
   marker value. */
static inline int
is_plain_key(PyObject *key)
{
    return is_text(key) && !is_mark(key);
}

static int
put_mapping(Out *out, PyObject *mapping, int depth)
{
    PyObject *key, *value;
    Py_ssize_t place = 0;
    char before = '{';
    if (depth == 0)
        return -1;
    while (PyDict_Next(mapping, &place, &key, &value)) {
        if (!is_plain_key(key) || put_byte(out, before) < 0 || put_text(out, key) < 0
            || put_byte(out, ':') < 0 || put_value(out, value, depth - 1) < 0)
            return -1;
        before = ',';
    }
    return before == '{' ? put_bytes(out, "{}", 2) : put_byte(out, '}');
}

static int
put_list(Out *out, PyObject *list, int depth)
{
    Py_ssize_t index, count = PyList_GET_SIZE(list);
    if (depth == 0 || put_byte(out, '[') < 0)
        return -1;
    for (index = 0; index < count; index++) {
        if ((index && put_byte(out, ',') < 0)
            || put_value(out, PyList_GET_ITEM(list, index), depth - 1) < 0)
            return -1;
    }
    return put_byte(out, ']');
}

/* The forms of whence.capture.values.is_plain, and no other. */
static int
put_value(Out *out, PyObject *value, int depth)
{
    if (is_text(value))
        return put_text(out, value);
    if (value == Py_None)
        return put_bytes(out, "null", 4);
    if (PyBool_Check(value))
        return put_boolean(out, value);
    if (PyLong_CheckExact(value))
        return put_long(out, value);
    if (PyFloat_CheckExact(value))
        return put_float(out, value);
    if (PyDict_CheckExact(value))
        return put_mapping(out, value, depth);
    if (PyList_CheckExact(value))
        return put_list(out, value, depth);
    return -1;
}

/* Whether put_value would take a value but for its length and alphabet. As in whence.record.values,
   its lists and mappings are counted wherever they stand, and 8 items as one more. */
static int
is_plain(PyObject *value, int depth, Py_ssize_t *parts_left)
{
    if (is_text(value) || value == Py_None || PyBool_Check(value))
        return 1;
    if (PyLong_CheckExact(value)) {
        int overflow;
        (void)PyLong_AsLongLongAndOverflow(value, &overflow);
        return !overflow;
    }
    if (PyFloat_CheckExact(value))
        return isfinite(PyFloat_AS_DOUBLE(value));
    if (depth == 0)
        return 0;
    if (PyDict_CheckExact(value)) {
        PyObject *key, *item;
        Py_ssize_t place = 0;
        *parts_left -= 1 + PyDict_GET_SIZE(value) / 8;
        if (*parts_left < 0)
            return 0;
        while (PyDict_Next(value, &place, &key, &item)) {
            if (!is_plain_key(key) || !is_plain(item, depth - 1, parts_left))
                return 0;
        }
        return 1;
    }
    if (PyList_CheckExact(value)) {
        Py_ssize_t index, count = PyList_GET_SIZE(value);
        *parts_left -= 1 + count / 8;
        if (*parts_left < 0)
            return 0;
        for (index = 0; index < count; index++) {
            if (!is_plain(PyList_GET_ITEM(value, index), depth - 1, parts_left))
                return 0;
        }
        return 1;
    }
    return 0;
}

static int
put_texts(Out *out, PyObject *texts)
{
    Py_ssize_t index, count;
    if (!PyList_CheckExact(texts) || put_byte(out, '[') < 0)
        return -1;
    count = PyList_GET_SIZE(texts);
    for (index = 0; index < count; index++) {
        PyObject *text = PyList_GET_ITEM(texts, index);
        if (!is_text(text) || (index && put_byte(out, ',') < 0)
            || put_text(out, text) < 0)
            return -1;
    }
    return put_byte(out, ']');
}

static inline int
is_chosen(PyObject *name, PyObject *chosen)
{
    return chosen != NULL && (name == chosen || PyUnicode_Compare(name, chosen) == 0);
}

static int
put_name(Out *out, PyObject *name, PyObject *chosen)
{
    if (put_bytes(out, "{\"name\":", 8) < 0 || put_text(out, name) < 0)
        return -1;
    return is_chosen(name, chosen) ? put_bytes(out, ",\"chosen\":true", 14) : 0;
}

static inline int
is_key(PyObject *key, const char *name)
{
    return PyUnicode_CompareWithASCIIString(key, name) == 0;
}

/* One option given as a mapping. Its forms are few, and everything else is for the Python half. */
static int
put_option(Out *out, PyObject *option, PyObject *chosen)
{
    PyObject *key, *value, *name = NULL;
    Py_ssize_t place = 0;
    while (PyDict_Next(option, &place, &key, &value)) {
        if (!is_text(key))
            return -1;
        if (name == NULL && is_key(key, "name"))
            name = value;
    }
    if (name == NULL || !is_text(name) || put_name(out, name, chosen) < 0)
        return -1;
    place = 0;
    while (PyDict_Next(option, &place, &key, &value)) {
        int result = -1, absent = value == Py_None;
        if (is_key(key, "name"))
            result = 0;
        else if (is_key(key, "reason_rejected")) {
            if (absent)
                result = 0;
            else if (is_text(value)
                     && put_bytes(out, ",\"reason_rejected\":", 19) == 0)
                result = put_text(out, value);
        }
        else if (is_key(key, "probability"))
            result = absent ? 0 : put_named_number(out, ",\"probability\":", value);
        else if (is_key(key, "score"))
            result = absent ? 0 : put_named_number(out, ",\"score\":", value);
        if (result < 0)
            return -1;
    }
    return put_byte(out, '}');
}

static int
put_options(Out *out, PyObject *options, PyObject *what)
{
    PyObject *chosen = is_text(what) ? what : NULL;
    if (chosen == NULL && what != Py_None && !PyDict_CheckExact(what) && !PyList_CheckExact(what))
        return -1; /* a number or the like may be the name of an option */
    if (put_byte(out, '[') < 0)
        return -1;
    if (PyList_CheckExact(options)) {
        Py_ssize_t index, count = PyList_GET_SIZE(options);
        for (index = 0; index < count; index++) {
            PyObject *option = PyList_GET_ITEM(options, index);
            if (index && put_byte(out, ',') < 0)
                return -1;
            if (is_text(option)) {
                if (put_name(out, option, chosen) < 0 || put_byte(out, '}') < 0)
                    return -1;
            }
            else if (!PyDict_CheckExact(option) || put_option(out, option, chosen) < 0)
                return -1;
        }
    }
    else if (PyDict_CheckExact(options)) {
        PyObject *name, *probability;
        Py_ssize_t place = 0, index = 0;
        while (PyDict_Next(options, &place, &name, &probability)) {
            if (!is_text(name) || (index++ && put_byte(out, ',') < 0)
                || put_name(out, name, chosen) < 0)
                return -1;
            if (probability != Py_None
                && put_named_number(out, ",\"probability\":", probability) < 0)
                return -1;
            if (put_byte(out, '}') < 0)
                return -1;
        }
    }
    else
        return -1;
    return put_byte(out, ']');
}

/* Factors given as mappings. One whose contribution is still to be computed is for Python. */
static int
put_factors(Out *out, PyObject *factors)
{
    Py_ssize_t index, count;
    if (!PyList_CheckExact(factors) || put_byte(out, '[') < 0)
        return -1;
    count = PyList_GET_SIZE(factors);
    for (index = 0; index < count; index++) {
        PyObject *factor = PyList_GET_ITEM(factors, index), *key, *value;
        Py_ssize_t place = 0;
        if (!PyDict_CheckExact(factor))
            return -1;
        while (PyDict_Next(factor, &place, &key, &value)) {
            if (!is_text(key)
                || (value != Py_None
                    && PyUnicode_CompareWithASCIIString(key, "normalized_value") == 0))
                return -1;
        }
        if ((index && put_byte(out, ',') < 0) || put_mapping(out, factor, MAX_DEPTH) < 0)
            return -1;
    }
    return put_byte(out, ']');
}

/* What put_fields has beside the values of the fields. */
typedef struct {
    PyObject *named;  /* all values by name, those that have no field among them */
    long long serial; /* of the segment that the record refers into; -1 if it refers to nothing */
} Call;

/* Messages as JSON, as whence.log.resend has them written. */
static int
put_messages(Out *out, PyObject *messages)
{
    Py_ssize_t index, count;
    if (!PyList_CheckExact(messages) || put_byte(out, '[') < 0)
        return -1;
    count = PyList_GET_SIZE(messages);
    for (index = 0; index < count; index++) {
        PyObject *message = PyList_GET_ITEM(messages, index);
        if ((index && put_byte(out, ',') < 0) || !PyBytes_CheckExact(message)
            || put_bytes(out, PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message)) < 0)
            return -1;
    }
    return put_byte(out, ']');
}

/* How the value of a field is written. */
enum {
    TEXT = 't',
    NUMBER = 'n',
    INTEGER = 'i',
    BOOLEAN = 'b',
    VALUE = 'v',
    MAPPING = 'm',
    TEXTS = 'l',
    OPTIONS = 'o',
    FACTORS = 'f',
    MESSAGES = 'c',       /* a list of bytes that are JSON already */
    SHARED = 'V',         /* what is long is written once a segment, by the Python half */
    SHARED_TEXT = 'T',
    SHARED_MAPPING = 'M',
    MADE = 'r',           /* bytes that are JSON already */
    NAMED = 'a',          /* a mapping of what has no field of its own */
    GIVEN = 'A',          /* the same, without what is None */
    UNKNOWN = 'x',        /* for the Python half */
};

typedef struct {
    PyObject *key;     /* bytes: `,"name":` */
    PyObject *absent;  /* the value that is left out; NULL if none is */
    char form;
} Field;

typedef struct {
    PyObject_HEAD
    PyObject *head;  /* bytes: `{"v":1,"kind":"event","seq":` */
    PyObject *names; /* name of a field to its index, but for the first and those that have none */
    int has_id;
    int takes_any; /* whether a field holds what has no field of its own */
    Py_ssize_t count;
    Field fields[MAX_FIELDS];
} Template;

static void
template_dealloc(Template *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_ssize_t index;
    Py_CLEAR(self->head);
    Py_CLEAR(self->names);
    for (index = 0; index < self->count; index++) {
        Py_CLEAR(self->fields[index].key);
        Py_CLEAR(self->fields[index].absent);
    }
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *
template_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *head, *fields;
    Py_ssize_t index, count;
    int has_id;
    Template *self;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs)) {
        PyErr_SetString(PyExc_TypeError, "Template takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "SpO!", &head, &has_id, &PyList_Type, &fields))
        return NULL;
    count = PyList_GET_SIZE(fields);
    if (count > MAX_FIELDS) {
        PyErr_Format(PyExc_ValueError, "%zd fields are more than the %d there is room for", count,
                     MAX_FIELDS);
        return NULL;
    }
    self = (Template *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->head = Py_NewRef(head);
    self->has_id = has_id;
    self->names = PyDict_New();
    if (self->names == NULL)
        goto failed;
    for (index = 0; index < count; index++) {
        PyObject *name, *key, *required, *absent, *field = PyList_GET_ITEM(fields, index);
        int form;
        if (!PyTuple_Check(field)
            || !PyArg_ParseTuple(field, "USCOO", &name, &key, &form, &required, &absent)) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_TypeError, "a field has to be a tuple");
            goto failed;
        }
        self->fields[index].key = Py_NewRef(key);
        self->fields[index].form = (char)form;
        self->fields[index].absent = required == Py_True ? NULL : Py_NewRef(absent);
        self->count = index + 1;
        self->takes_any |= form == NAMED || form == GIVEN;
        if (index && form != NAMED && form != GIVEN) {
            PyObject *number = PyLong_FromSsize_t(index);
            int result = number == NULL ? -1 : PyDict_SetItem(self->names, name, number);
            Py_XDECREF(number);
            if (result < 0)
                goto failed;
        }
    }
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

/* What is named and has no field. */
static int
put_named(Out *out, const Template *template, const Field *field, const Call *call)
{
    PyObject *key, *value;
    Py_ssize_t place = 0;
    char before = '{';
    while (PyDict_Next(call->named, &place, &key, &value)) {
        int has_field = PyDict_Contains(template->names, key);
        if (has_field < 0)
            return PyErr_Clear(), -1;
        if (has_field || (value == Py_None && field->form == GIVEN))
            continue;
        if (before == '{'
            && put_bytes(out, PyBytes_AS_STRING(field->key), PyBytes_GET_SIZE(field->key)) < 0)
            return -1;
        if (!is_plain_key(key) || put_byte(out, before) < 0 || put_text(out, key) < 0
            || put_byte(out, ':') < 0 || put_value(out, value, MAX_DEPTH - 1) < 0)
            return -1;
        before = ',';
    }
    return before == '{' ? 0 : put_byte(out, '}');
}

/* A value that the segment may hold already, if it is long enough to be looked for. */
static int
put_shared(Out *out, PyObject *value)
{
    const char *start = out->at;
    if (put_value(out, value, MAX_DEPTH) < 0)
        return -1;
    return out->at - start < SHARED_BYTES ? 0 : -1;
}

static int
put_field(Out *out, const Field *field, PyObject *value, PyObject *what, Call *call)
{
    if (value == field->absent)
        return 0;
    if (field->form == TEXT && field->absent != NULL && is_text(value)
        && is_text(field->absent) && PyUnicode_Compare(value, field->absent) == 0)
        return 0;
    if (put_bytes(out, PyBytes_AS_STRING(field->key), PyBytes_GET_SIZE(field->key)) < 0)
        return -1;
    switch (field->form) {
    case TEXT: return is_text(value) ? put_text(out, value) : -1;
    case NUMBER: return put_number(out, value);
    case INTEGER: return PyLong_CheckExact(value) ? put_long(out, value) : -1;
    case BOOLEAN: return PyBool_Check(value) ? put_boolean(out, value) : -1;
    case VALUE: return put_value(out, value, MAX_DEPTH);
    case MAPPING:
    case NAMED:
    case GIVEN: return PyDict_CheckExact(value) ? put_mapping(out, value, MAX_DEPTH) : -1;
    case TEXTS: return put_texts(out, value);
    case OPTIONS: return put_options(out, value, what);
    case FACTORS: return put_factors(out, value);
    case MESSAGES: return call == NULL ? -1 : put_messages(out, value);
    case SHARED: return put_shared(out, value);
    case SHARED_TEXT: return is_text(value) ? put_shared(out, value) : -1;
    case SHARED_MAPPING: return PyDict_CheckExact(value) ? put_shared(out, value) : -1;
    case MADE:
        return PyBytes_CheckExact(value)
                   ? put_bytes(out, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
                   : -1;
    default: return -1;
    }
}

static PyType_Slot template_slots[] = {
    {Py_tp_doc, "How the records of one kind are written: Template(head, has_id, fields)."},
    {Py_tp_new, template_new},
    {Py_tp_dealloc, template_dealloc},
    {0, NULL},
};

static PyType_Spec template_spec = {
    .name = "whence.log._lines.Template",
    .basicsize = sizeof(Template),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = template_slots,
};

/* What a writer knows of the segment it appends to. The members are the Python half's, see
   whence.log.writer.Writer; this half reads them, and moves `_size` and `_seq`. */
typedef struct {
    PyObject_HEAD
    PyObject *module; /* keeps the state */
    const State *state;
    PyObject *second;
    char *buffer;
    long long second_ns, turn_after_ns, size, full_at, seq, serial, slow_until_ns;
    Py_ssize_t line_bytes;
    int fd;
    char busy, unsettled, was_slow;
} LineFile;

static PyMemberDef linefile_members[] = {
    {"_fd", T_INT, offsetof(LineFile, fd), 0, "descriptor of the segment, -1 if there is none"},
    {"_size", T_LONGLONG, offsetof(LineFile, size), 0, "bytes in the segment"},
    {"_full_at", T_LONGLONG, offsetof(LineFile, full_at), 0, "bytes at which it is full"},
    {"_seq", T_LONGLONG, offsetof(LineFile, seq), 0, "number of its last line"},
    {"serial", T_LONGLONG, offsetof(LineFile, serial), 0, "number of the segment, from 1"},
    {"_second", T_OBJECT, offsetof(LineFile, second), 0, "the second as text, with the dot"},
    {"_second_ns", T_LONGLONG, offsetof(LineFile, second_ns), 0, "the second in nanoseconds"},
    {"_turn_after_ns", T_LONGLONG, offsetof(LineFile, turn_after_ns), 0,
     "nanoseconds into the second after which there is something to do"},
    {"_busy", T_BOOL, offsetof(LineFile, busy), 0, "whether a write is under way"},
    {"_unsettled", T_BOOL, offsetof(LineFile, unsettled), 0, "whether a write has to be followed up"},
    {NULL},
};

static int
linefile_init(LineFile *self, PyObject *args, PyObject *kwargs)
{
    Py_ssize_t line_bytes;
    char *buffer;
    PyObject *module;
    static char *names[] = {"line_bytes", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n", names, &line_bytes))
        return -1;
    module = PyType_GetModuleByDef(Py_TYPE(self), &definition);
    if (module == NULL)
        return -1;
    Py_XSETREF(self->module, Py_NewRef(module));
    self->state = PyModule_GetState(module);
    buffer = PyMem_Realloc(self->buffer, (size_t)line_bytes);
    if (buffer == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->buffer = buffer;
    self->line_bytes = line_bytes;
    self->fd = -1;
    self->full_at = -1;
    return 0;
}

static void
linefile_dealloc(LineFile *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_CLEAR(self->module);
    Py_CLEAR(self->second);
    PyMem_Free(self->buffer);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static long long
coarse_ns(void)
{
    struct timespec now;
#ifdef CLOCK_MONOTONIC_COARSE
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
#else
    clock_gettime(CLOCK_MONOTONIC, &now);
#endif
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void
set_hex(char *digits, unsigned long long number)
{
    int place;
    for (place = ID_LENGTH - 1; place >= 0; place--, number >>= 4)
        digits[place] = "0123456789abcdef"[number & 15];
}

/* Draws a new id, as whence._ids.new_id does.

   Returns 0 if there is none to be had; an id never is. */
static unsigned long long
draw_id(const State *state)
{
    PyObject *counter = PyDict_GetItemWithError(state->ids, state->next_number), *number = NULL;
    unsigned long long value = 0;
    if (counter != NULL) {
        Py_INCREF(counter); /* a renewal replaces it */
        number = PyObject_CallNoArgs(counter);
        Py_DECREF(counter);
    }
    if (number != NULL) {
        value = PyLong_AsUnsignedLongLong(number);
        Py_DECREF(number);
    }
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return value;
}

/* Adds what every line begins with, up to its own fields. */
static int
put_start(Out *out, LineFile *self, Template *template, const Py_buffer *envelope, long long nanos)
{
    char digits[10];
    int place;
    if (self->second == NULL || !is_text(self->second) || !PyUnicode_IS_COMPACT_ASCII(self->second)
        || put_bytes(out, PyBytes_AS_STRING(template->head), PyBytes_GET_SIZE(template->head)) < 0
        || put_integer(out, self->seq + 1) < 0 || put_bytes(out, ",\"ts\":\"", 7) < 0
        || put_bytes(out, (const char *)PyUnicode_1BYTE_DATA(self->second),
                     PyUnicode_GET_LENGTH(self->second)) < 0)
        return -1;
    for (place = 8; place >= 0; place--, nanos /= 10)
        digits[place] = (char)('0' + nanos % 10);
    digits[9] = 'Z';
    if (put_bytes(out, digits, 10) < 0 || put_bytes(out, "\",\"run\":", 8) < 0)
        return -1;
    return put_bytes(out, envelope->buf, envelope->len);
}

/* Makes the line in the buffer.

   Returns its length, or -1 where it declines. `id` gets the digits of the record's id. */
static Py_ssize_t
make_line(LineFile *self, Template *template, const Py_buffer *envelope, long long nanos,
          PyObject *const *values, Py_ssize_t count, const char *id, Call *call)
{
    Out out = {self->buffer, self->buffer + self->line_bytes, 0};
    PyObject *what = Py_None;
    Py_ssize_t index;
    if (put_start(&out, self, template, envelope, nanos) < 0)
        return -1;
    if (template->has_id
        && (put_bytes(&out, ",\"id\":\"", 7) < 0 || put_bytes(&out, id, ID_LENGTH) < 0
            || put_byte(&out, '"') < 0))
        return -1;
    for (index = 0; index < template->count; index++) {
        const Field *field = &template->fields[index];
        if (call != NULL && (field->form == NAMED || field->form == GIVEN)) {
            if (put_named(&out, template, field, call) < 0)
                return -1;
            continue;
        }
        if (index >= count || values[index] == NULL) {
            if (field->absent == NULL)
                return -1;
            continue;
        }
        if (field->form == VALUE)
            what = values[index];
        if (put_field(&out, field, values[index], what, call) < 0)
            return -1;
    }
    return put_bytes(&out, "}\n", 2) < 0 ? -1 : out.at - self->buffer;
}

/* Writes the line.

   One slow write may be a thread that lost its core; two in a row, or one that took very long, are a
   disk that makes its writers wait. It is tried again after a while that is long beside the wait, so
   that other threads lose a tenth of their time at most.

   Returns 0 if all of it is in the file, -1 if nothing is. */
static int
write_line(LineFile *self, Py_ssize_t length)
{
    long long began_ns = coarse_ns(), took_ns;
    ssize_t written = write(self->fd, self->buffer, (size_t)length);
    char is_slow;
    took_ns = coarse_ns() - began_ns;
    is_slow = took_ns >= SLOW_WRITE_NS;
    if ((is_slow && self->was_slow) || took_ns >= STALLED_WRITE_NS)
        self->slow_until_ns = began_ns + took_ns + SLOW_FOR_NS + 10 * took_ns;
    self->was_slow = is_slow;
    if (written == length) {
        self->size += length;
        self->seq += 1;
        return 0;
    }
    if (written > 0 && ftruncate(self->fd, (off_t)self->size) < 0)
        self->full_at = -1; /* a torn tail: Python leaves the segment for a new one */
    return -1;
}

/* Whether a record of that time can be appended without anything else to be done. */
static int
is_ready(const LineFile *self, long long now_ns)
{
    long long nanos = now_ns - self->second_ns;
    if (self->busy || self->unsettled || nanos < 0 || nanos >= self->turn_after_ns
        || self->size >= self->full_at || self->fd < 0 || self->buffer == NULL)
        return 0;
    return self->slow_until_ns == 0 || coarse_ns() >= self->slow_until_ns;
}

/* Puts named values where their fields are.

   Returns -1 for a name that has no place, or is no text as everybody makes them: to compare another
   with that could run any code. */
static int
bind(const Template *template, PyObject *named, PyObject **values)
{
    PyObject *key, *value;
    Py_ssize_t place = 0;
    while (PyDict_Next(named, &place, &key, &value)) {
        PyObject *index;
        if (!is_text(key))
            return -1;
        index = PyDict_GetItemWithError(template->names, key);
        if (index == NULL) {
            if (PyErr_Occurred() || !template->takes_any)
                return PyErr_Clear(), -1;
        }
        else if (value != Py_None)
            values[PyLong_AsSsize_t(index)] = value;
    }
    return 0;
}

/* Writes one record.

   Returns its id, True if its kind has none, None where it declines, or NULL with an error for a
   wrong call. `offset` gets where the line stands. With a `call`, the values are put where they
   belong in `values`. */
static PyObject *
put_record(LineFile *self, PyObject *const *args, PyObject **values, Py_ssize_t count, Call *call,
           long long *offset)
{
    Template *template = (Template *)args[0];
    Py_buffer envelope;
    PyObject *made;
    long long now_ns = PyLong_AsLongLong(args[2]);
    char id[ID_LENGTH] = "";
    if (now_ns == -1 && PyErr_Occurred())
        return NULL;
    if (template->has_id) {
        unsigned long long number = draw_id(self->state);
        set_hex(id, number);
        made = number ? PyUnicode_FromStringAndSize(id, ID_LENGTH) : Py_NewRef(Py_None);
    }
    else
        made = Py_NewRef(Py_True);
    if (made == NULL)
        return PyErr_Clear(), Py_NewRef(Py_None);
    if (PyObject_GetBuffer(args[1], &envelope, PyBUF_SIMPLE) < 0) {
        Py_DECREF(made);
        return NULL;
    }
    /* From here to the end of the write no other code runs, whatever the ids and the envelope are:
       so that what is seen of the segment is so. */
    if (made != Py_None) {
        Py_ssize_t length = -1;
        if (is_ready(self, now_ns)
            && (call == NULL
                || ((call->serial < 0 || call->serial == self->serial)
                    && bind(template, call->named, values) == 0)))
            length = make_line(self, template, &envelope, now_ns - self->second_ns, values, count,
                               id, call);
        *offset = self->size;
        if (length < 0 || write_line(self, length) < 0)
            Py_SETREF(made, Py_NewRef(Py_None));
    }
    PyBuffer_Release(&envelope);
    return made;
}

static int
is_template(const LineFile *self, PyObject *given)
{
    return self->state != NULL && Py_IS_TYPE(given, self->state->template_type);
}

static PyObject *
linefile_put(LineFile *self, PyObject *const *args, Py_ssize_t count)
{
    long long offset;
    if (count < 3 || !is_template(self, args[0])) {
        PyErr_SetString(PyExc_TypeError, "put takes a Template, an envelope, a time and values");
        return NULL;
    }
    return put_record(self, args, (PyObject **)args + 3, count - 3, NULL, &offset);
}

static PyObject *
linefile_put_fields(LineFile *self, PyObject *const *args, Py_ssize_t count)
{
    PyObject *made, *values[MAX_FIELDS] = {NULL};
    Call call;
    long long offset = 0;
    if (count != 6 || !is_template(self, args[0]) || !PyDict_CheckExact(args[4])) {
        PyErr_SetString(PyExc_TypeError,
                        "put_fields takes a Template, an envelope, a time, a value, a dictionary "
                        "of values, and the number of a segment");
        return NULL;
    }
    values[0] = args[3] == Py_None ? NULL : args[3];
    call.named = args[4];
    call.serial = PyLong_AsLongLong(args[5]);
    if (call.serial == -1 && PyErr_Occurred())
        return NULL;
    made = put_record(self, args, values, MAX_FIELDS, &call, &offset);
    if (call.serial >= 0 && made != NULL && made != Py_None) {
        PyObject *placed = Py_BuildValue("(OL)", made, offset);
        if (placed == NULL)
            PyErr_Clear(); /* it is written, which is what matters */
        else
            Py_SETREF(made, placed);
    }
    return made;
}

/* Makes JSON of each of a list of values in the buffer.

   Returns 0, or -1 if they are not plain or no line holds them. */
static int
put_each(LineFile *self, PyObject *list, Py_ssize_t *sizes)
{
    Out out = {self->buffer, self->buffer + self->line_bytes, 1};
    Py_ssize_t index, count = PyList_GET_SIZE(list);
    for (index = 0; index < count; index++) {
        const char *start = out.at;
        if (put_value(&out, PyList_GET_ITEM(list, index), MAX_DEPTH - 1) < 0)
            return -1;
        sizes[index] = out.at - start;
    }
    return 0;
}

/* The list is made beforehand, since that may run other code, which may use the buffer. */
static PyObject *
linefile_texts(LineFile *self, PyObject *list)
{
    Py_ssize_t *sizes, index, count;
    const char *start = self->buffer;
    PyObject *made;
    if (!PyList_CheckExact(list)) {
        PyErr_SetString(PyExc_TypeError, "texts takes a list");
        return NULL;
    }
    if (self->buffer == NULL)
        Py_RETURN_NONE;
    count = PyList_GET_SIZE(list);
    made = PyList_New(count);
    sizes = PyMem_New(Py_ssize_t, count);
    if (made == NULL || sizes == NULL || PyList_GET_SIZE(list) != count
        || put_each(self, list, sizes) < 0)
        goto declined;
    for (index = 0; index < count; index++) {
        PyObject *text = PyBytes_FromStringAndSize(start, sizes[index]);
        if (text == NULL)
            goto declined;
        PyList_SET_ITEM(made, index, text);
        start += sizes[index];
    }
    PyMem_Free(sizes);
    return made;
declined:
    PyErr_Clear();
    PyMem_Free(sizes);
    Py_XDECREF(made);
    Py_RETURN_NONE;
}

static PyMethodDef linefile_methods[] = {
    {"put", (PyCFunction)(void (*)(void))linefile_put, METH_FASTCALL,
     "put(template, envelope, now_ns, *values)\n--\n\n"
     "Write one record and return its id, True if its kind has none, or None if it was declined."},
    {"put_fields", (PyCFunction)(void (*)(void))linefile_put_fields, METH_FASTCALL,
     "put_fields(template, envelope, now_ns, first, fields, serial)\n--\n\n"
     "Write one record of values by name; its first field is given apart. Return what put does,\n"
     "and the offset of the line if the number of a segment is given that it has to stand in."},
    {"texts", (PyCFunction)linefile_texts, METH_O,
     "texts(values)\n--\n\n"
     "Return each of a list of values as JSON; None if they are not plain or no line holds them."},
    {NULL},
};

static PyType_Slot linefile_slots[] = {
    {Py_tp_doc, "The end of the file that lines are appended to: LineFile(line_bytes)."},
    {Py_tp_init, linefile_init},
    {Py_tp_dealloc, linefile_dealloc},
    {Py_tp_members, linefile_members},
    {Py_tp_methods, linefile_methods},
    {0, NULL},
};

static PyType_Spec linefile_spec = {
    .name = "whence.log._lines.LineFile",
    .basicsize = sizeof(LineFile),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = linefile_slots,
};

static int
module_exec(PyObject *module)
{
    State *state = PyModule_GetState(module);
    PyObject *linefile, *source = PyImport_ImportModule("whence._ids");
    int result;
    if (source == NULL)
        return -1;
    state->ids = Py_NewRef(PyModule_GetDict(source));
    Py_DECREF(source);
    state->next_number = PyUnicode_InternFromString("next_number");
    if (state->next_number == NULL)
        return -1;
    state->template_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(module, &template_spec, NULL);
    if (state->template_type == NULL || PyModule_AddType(module, state->template_type) < 0)
        return -1;
    linefile = PyType_FromModuleAndSpec(module, &linefile_spec, NULL);
    if (linefile == NULL)
        return -1;
    result = PyModule_AddType(module, (PyTypeObject *)linefile);
    Py_DECREF(linefile);
    return result;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->ids);
    Py_VISIT(state->template_type);
    return 0;
}

static void
module_free(void *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->ids);
    Py_CLEAR(state->next_number);
    Py_CLEAR(state->template_type);
}

static PyObject *
are_plain(PyObject *module, PyObject *values)
{
    Py_ssize_t index, count;
    if (!PyTuple_Check(values)) {
        PyErr_SetString(PyExc_TypeError, "are_plain takes a tuple of values");
        return NULL;
    }
    count = PyTuple_GET_SIZE(values);
    for (index = 0; index < count; index++) {
        Py_ssize_t parts_left = MAX_PARTS;
        if (!is_plain(PyTuple_GET_ITEM(values, index), MAX_DEPTH, &parts_left))
            Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

static PyMethodDef module_methods[] = {
    {"are_plain", are_plain, METH_O,
     "are_plain(values)\n--\n\nReturn whether JSON holds each of a tuple of values as it is."},
    {NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "whence.log._lines",
    .m_doc = "Makes a record's line and writes it, in one call.",
    .m_size = sizeof(State),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__lines(void)
{
    return PyModuleDef_Init(&definition);
}
