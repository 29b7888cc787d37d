/* SPDX-License-Identifier: Apache-2.0 */
/* Command and status bits after the 8042 as the IBM PC/AT wired it. There is a keyboard that
 * acknowledges everything, and no mouse. Answers and key codes share one output buffer. */
#include "vmm/devices/i8042.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

#define I8042_LENGTH        5u
#define I8042_DATA          0u
#define I8042_COMMAND       4u /* status when read */
#define I8042_BUFFER        16u
#define I8042_STATE_VERSION 1u

/* Status register. */
#define STATUS_OUTPUT_FULL 0x01u
#define STATUS_SYSTEM      0x04u
#define STATUS_COMMAND     0x08u /* the last byte written was a command */
#define STATUS_UNLOCKED    0x10u

/* Command byte. */
#define CONTROL_KEYBOARD_IRQ 0x01u
#define CONTROL_SYSTEM       0x04u
#define CONTROL_KEYBOARD_OFF 0x10u
#define CONTROL_AUX_OFF      0x20u
#define CONTROL_TRANSLATE    0x40u
#define CONTROL_MASK         0x7fu

/* Output port. */
#define OUTPUT_NOT_RESET 0x01u
#define OUTPUT_A20       0x02u

/* Commands. */
#define COMMAND_READ_CONTROL  0x20u
#define COMMAND_WRITE_CONTROL 0x60u
#define COMMAND_AUX_OFF       0xa7u
#define COMMAND_AUX_ON        0xa8u
#define COMMAND_AUX_TEST      0xa9u
#define COMMAND_SELF_TEST     0xaau
#define COMMAND_KEYBOARD_TEST 0xabu
#define COMMAND_KEYBOARD_OFF  0xadu
#define COMMAND_KEYBOARD_ON   0xaeu
#define COMMAND_READ_OUTPUT   0xd0u
#define COMMAND_WRITE_OUTPUT  0xd1u
#define COMMAND_ECHO_KEYBOARD 0xd2u
#define COMMAND_ECHO_AUX      0xd3u
#define COMMAND_WRITE_AUX     0xd4u
#define COMMAND_RESET         0xfeu

#define SELF_TEST_PASSED     0x55u
#define KEYBOARD_TEST_PASSED 0x00u
#define AUX_TEST_CLOCK_STUCK 0x02u /* nothing is plugged in */
#define KEYBOARD_ACK         0xfau

/* The state section as well as the live registers. */
struct i8042_state {
    uint8_t control; /* the command byte */
    uint8_t output_port;
    uint8_t command;       /* waits for its data byte; 0: none */
    uint8_t wrote_command; /* STATUS_COMMAND */
    uint8_t count;
    uint8_t buffer[I8042_BUFFER]; /* oldest first */
    uint8_t reserved[3];
};

struct i8042 {
    struct bus_device bus;
    struct i8042_state state;
    int irq_fd;
    void (*reset)(void *context);
    void *context;
};

/* ---- output buffer ---- */

/* Each byte that comes to the front of the buffer raises the (edge-triggered) interrupt. */
static void i8042_raise(const struct i8042 *i8042)
{
    if (i8042->state.count == 0 || !(i8042->state.control & CONTROL_KEYBOARD_IRQ) ||
        i8042->irq_fd < 0)
        return;
    uint64_t one = 1;
    ssize_t written = write(i8042->irq_fd, &one, sizeof(one));
    (void)written; /* an eventfd that is full already says what this would say */
}

/* All of the bytes or none. */
static int i8042_push(struct i8042 *i8042, const uint8_t *bytes, size_t count)
{
    struct i8042_state *state = &i8042->state;
    if (count > I8042_BUFFER - state->count)
        return -EBUSY;
    bool was_empty = state->count == 0;
    memcpy(state->buffer + state->count, bytes, count);
    state->count = (uint8_t)(state->count + count);
    if (was_empty)
        i8042_raise(i8042);
    return 0;
}

/* An answer for a guest that never reads the ones before it is lost. */
static void i8042_answer(struct i8042 *i8042, uint8_t byte)
{
    (void)i8042_push(i8042, &byte, 1);
}

static uint8_t i8042_pop(struct i8042 *i8042)
{
    struct i8042_state *state = &i8042->state;
    if (state->count == 0)
        return 0;
    uint8_t byte = state->buffer[0];
    state->count--;
    memmove(state->buffer, state->buffer + 1, state->count);
    i8042_raise(i8042);
    return byte;
}

/* ---- commands ---- */

static void i8042_reset_machine(const struct i8042 *i8042)
{
    i8042->reset(i8042->context);
}

static void command_read_control(struct i8042 *i8042)
{
    i8042_answer(i8042, i8042->state.control);
}

static void command_aux_off(struct i8042 *i8042)
{
    i8042->state.control |= CONTROL_AUX_OFF;
}

static void command_aux_on(struct i8042 *i8042)
{
    i8042->state.control &= (uint8_t)~CONTROL_AUX_OFF;
}

static void command_aux_test(struct i8042 *i8042)
{
    i8042_answer(i8042, AUX_TEST_CLOCK_STUCK);
}

static void command_self_test(struct i8042 *i8042)
{
    i8042->state.control |= CONTROL_SYSTEM;
    i8042_answer(i8042, SELF_TEST_PASSED);
}

static void command_keyboard_test(struct i8042 *i8042)
{
    i8042_answer(i8042, KEYBOARD_TEST_PASSED);
}

static void command_keyboard_off(struct i8042 *i8042)
{
    i8042->state.control |= CONTROL_KEYBOARD_OFF;
}

static void command_keyboard_on(struct i8042 *i8042)
{
    i8042->state.control &= (uint8_t)~CONTROL_KEYBOARD_OFF;
}

static void command_read_output(struct i8042 *i8042)
{
    i8042_answer(i8042, i8042->state.output_port);
}

static void command_reset(struct i8042 *i8042)
{
    i8042_reset_machine(i8042);
}

static void data_control(struct i8042 *i8042, uint8_t value)
{
    i8042->state.control = value & CONTROL_MASK;
    i8042_raise(i8042); /* bytes may wait for an interrupt that is allowed only now */
}

static void data_output(struct i8042 *i8042, uint8_t value)
{
    i8042->state.output_port = value | OUTPUT_NOT_RESET;
    if (!(value & OUTPUT_NOT_RESET))
        i8042_reset_machine(i8042);
}

static void data_drop(struct i8042 *i8042, uint8_t value)
{
    (void)i8042, (void)value;
}

/* What a command does at once, and what it does with the data byte that follows it. */
struct i8042_command {
    uint8_t code;
    void (*run)(struct i8042 *i8042);
    void (*data)(struct i8042 *i8042, uint8_t value);
};

static const struct i8042_command i8042_commands[] = {
    {.code = COMMAND_READ_CONTROL, .run = command_read_control},
    {.code = COMMAND_WRITE_CONTROL, .data = data_control},
    {.code = COMMAND_AUX_OFF, .run = command_aux_off},
    {.code = COMMAND_AUX_ON, .run = command_aux_on},
    {.code = COMMAND_AUX_TEST, .run = command_aux_test},
    {.code = COMMAND_SELF_TEST, .run = command_self_test},
    {.code = COMMAND_KEYBOARD_TEST, .run = command_keyboard_test},
    {.code = COMMAND_KEYBOARD_OFF, .run = command_keyboard_off},
    {.code = COMMAND_KEYBOARD_ON, .run = command_keyboard_on},
    {.code = COMMAND_READ_OUTPUT, .run = command_read_output},
    {.code = COMMAND_WRITE_OUTPUT, .data = data_output},
    {.code = COMMAND_ECHO_KEYBOARD, .data = i8042_answer},
    {.code = COMMAND_ECHO_AUX, .data = data_drop},
    {.code = COMMAND_WRITE_AUX, .data = data_drop},
    {.code = COMMAND_RESET, .run = command_reset},
};

static const struct i8042_command *i8042_command_find(uint8_t code)
{
    for (size_t i = 0; i < ARRAY_SIZE(i8042_commands); i++) {
        if (i8042_commands[i].code == code)
            return &i8042_commands[i];
    }
    return NULL;
}

/* ---- the keyboard ---- */

/* Every byte is acknowledged; two commands have more to say: who are you, and reset. */
static void keyboard_receive(struct i8042 *i8042, uint8_t value)
{
    static const uint8_t identify[] = {KEYBOARD_ACK, 0xab, 0x83};
    static const uint8_t reset[] = {KEYBOARD_ACK, 0xaa};
    static const uint8_t ack[] = {KEYBOARD_ACK};
    /* A byte to the keyboard switches a disabled keyboard on again. */
    i8042->state.control &= (uint8_t)~CONTROL_KEYBOARD_OFF;
    if (value == 0xf2)
        (void)i8042_push(i8042, identify, sizeof(identify));
    else if (value == 0xff)
        (void)i8042_push(i8042, reset, sizeof(reset));
    else
        (void)i8042_push(i8042, ack, sizeof(ack));
}

int i8042_ctrl_alt_del(struct i8042 *i8042, struct error *err)
{
    /* Press left Ctrl, left Alt, Delete; release in reverse. Scan code set 2 as the keyboard sends
     * it, and set 1 as the controller translates it. */
    static const uint8_t set2[] = {0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0,
                                   0x71, 0xf0, 0x11, 0xf0, 0x14};
    static const uint8_t set1[] = {0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d};
    bool translate = i8042->state.control & CONTROL_TRANSLATE;
    if (i8042->state.control & CONTROL_KEYBOARD_OFF)
        return error_set(err, ERROR_STATE, EAGAIN, "the guest has its keyboard switched off");
    int status =
        translate ? i8042_push(i8042, set1, sizeof(set1)) : i8042_push(i8042, set2, sizeof(set2));
    if (status < 0)
        return error_set(err, ERROR_STATE, EBUSY,
                         "the guest has not read its keyboard: no room for Ctrl-Alt-Del");
    return 0;
}

/* ---- ports ---- */

static uint8_t i8042_status(const struct i8042_state *state)
{
    unsigned status = STATUS_UNLOCKED;
    if (state->count > 0)
        status |= STATUS_OUTPUT_FULL;
    if (state->control & CONTROL_SYSTEM)
        status |= STATUS_SYSTEM;
    if (state->wrote_command)
        status |= STATUS_COMMAND;
    return (uint8_t)status;
}

static void i8042_read(struct bus_device *device, uint64_t offset, uint8_t *data, size_t size)
{
    struct i8042 *i8042 = CONTAINER_OF(device, struct i8042, bus);
    if (size != 1)
        return;
    if (offset == I8042_COMMAND)
        data[0] = i8042_status(&i8042->state);
    else if (offset == I8042_DATA)
        data[0] = i8042_pop(i8042);
}

static void i8042_write_command(struct i8042 *i8042, uint8_t value)
{
    const struct i8042_command *command = i8042_command_find(value);
    i8042->state.wrote_command = 1;
    i8042->state.command = command && command->data ? value : 0;
    if (command && command->run)
        command->run(i8042);
}

static void i8042_write_data(struct i8042 *i8042, uint8_t value)
{
    const struct i8042_command *command = i8042_command_find(i8042->state.command);
    i8042->state.wrote_command = 0;
    i8042->state.command = 0;
    if (command && command->data)
        command->data(i8042, value);
    else
        keyboard_receive(i8042, value);
}

static void i8042_write(struct bus_device *device, uint64_t offset, const uint8_t *data,
                        size_t size)
{
    struct i8042 *i8042 = CONTAINER_OF(device, struct i8042, bus);
    if (size != 1)
        return;
    if (offset == I8042_COMMAND)
        i8042_write_command(i8042, data[0]);
    else if (offset == I8042_DATA)
        i8042_write_data(i8042, data[0]);
}

/* ---- life ---- */

struct i8042 *i8042_create(int irq_fd, void (*reset)(void *context), void *context,
                           struct error *err)
{
    struct i8042 *i8042 = calloc(1, sizeof(*i8042));
    if (!i8042) {
        error_errno(err, ENOMEM, NULL, "i8042");
        return NULL;
    }
    *i8042 = (struct i8042){
        .bus = {.name = "i8042",
                .start = I8042_PORT,
                .length = I8042_LENGTH,
                .read = i8042_read,
                .write = i8042_write},
        .state = {.control = CONTROL_KEYBOARD_IRQ | CONTROL_SYSTEM | CONTROL_AUX_OFF,
                  .output_port = OUTPUT_NOT_RESET | OUTPUT_A20},
        .irq_fd = irq_fd,
        .reset = reset,
        .context = context,
    };
    return i8042;
}

void i8042_destroy(struct i8042 *i8042)
{
    free(i8042);
}

struct bus_device *i8042_bus_device(struct i8042 *i8042)
{
    return &i8042->bus;
}

/* ---- state ---- */

void i8042_save(const struct i8042 *i8042, struct state_writer *writer)
{
    struct i8042_state state = i8042->state;
    /* What was read and is gone is not state. */
    memset(state.buffer + state.count, 0, I8042_BUFFER - state.count);
    state_put(writer, STATE_I8042, 0, I8042_STATE_VERSION, &state, sizeof(state));
}

static bool i8042_state_valid(const struct i8042_state *state)
{
    static const uint8_t zeros[sizeof(state->reserved)];
    const struct i8042_command *command = i8042_command_find(state->command);
    bool command_ok = state->command == 0 || (command && command->data);
    return command_ok && !(state->control & ~CONTROL_MASK) && state->wrote_command <= 1 &&
           (state->output_port & OUTPUT_NOT_RESET) && state->count <= I8042_BUFFER &&
           memcmp(state->reserved, zeros, sizeof(zeros)) == 0;
}

int i8042_load(struct i8042 *i8042, const struct state_reader *reader, struct error *err)
{
    struct i8042_state state;
    int status = state_get(reader, STATE_I8042, 0, I8042_STATE_VERSION, &state, sizeof(state), err);
    if (status < 0)
        return status;
    if (!i8042_state_valid(&state))
        return error_set(err, ERROR_CORRUPT, EINVAL, "state: i8042 registers are not valid");
    i8042->state = state;
    i8042_raise(i8042); /* for a byte whose interrupt may have been lost on the way */
    return 0;
}
