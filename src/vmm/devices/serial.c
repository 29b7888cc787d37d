/* SPDX-License-Identifier: Apache-2.0 */
/* Registers and interrupt rules after the 16550D data sheet. Transmission takes no time, so the
 * transmitter is always empty. */
#include "vmm/devices/serial.h"

#include <errno.h>
#include <linux/serial_reg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmm/devices/serial_log.h"

#define SERIAL_LENGTH        8u
#define SERIAL_FIFO          16u
#define SERIAL_STATE_VERSION 1u
#define SERIAL_MCR_MASK      0x1fu
#define SERIAL_IER_MASK      0x0fu
#define SERIAL_IIR_FIFOS     0xc0u

/* The state section as well as the live registers. */
struct serial_state {
    uint8_t ier, lcr, mcr, scr, dll, dlm;
    uint8_t fifo_enabled;
    uint8_t overrun;      /* LSR's OE, until LSR is read */
    uint8_t thre_pending; /* the transmitter became empty, and nobody read so in IIR yet */
    uint8_t rx_count;
    uint8_t rx[SERIAL_FIFO]; /* oldest first; only loopback fills it */
    uint8_t reserved[6];
};

struct serial {
    struct bus_device bus;
    struct serial_state state;
    struct serial_log *log;
    int irq_fd;
    bool line;          /* level of the interrupt output */
    bool lsr_read_last; /* the last access read LSR */
};

/* ---- interrupt ---- */

/* The highest pending interrupt, as IIR names it. */
static uint8_t serial_pending(const struct serial_state *state)
{
    if ((state->ier & UART_IER_RLSI) && state->overrun)
        return UART_IIR_RLSI;
    if ((state->ier & UART_IER_RDI) && state->rx_count > 0)
        return UART_IIR_RDI;
    if ((state->ier & UART_IER_THRI) && state->thre_pending)
        return UART_IIR_THRI;
    return UART_IIR_NO_INT;
}

/* On a PC, OUT2 gates the interrupt, and loopback takes OUT2 off its pin. */
static bool serial_line(const struct serial_state *state)
{
    return (state->mcr & UART_MCR_OUT2) && !(state->mcr & UART_MCR_LOOP) &&
           serial_pending(state) != UART_IIR_NO_INT;
}

/* The interrupt is edge-triggered: only a rising line is told. */
static void serial_update_line(struct serial *serial)
{
    bool line = serial_line(&serial->state);
    if (line && !serial->line && serial->irq_fd >= 0) {
        uint64_t one = 1;
        ssize_t written = write(serial->irq_fd, &one, sizeof(one));
        (void)written; /* an eventfd that is full already says what this would say */
    }
    serial->line = line;
}

/* ---- reading ---- */

static uint8_t serial_read_rbr(struct serial_state *state)
{
    if (state->rx_count == 0)
        return 0;
    uint8_t byte = state->rx[0];
    state->rx_count--;
    memmove(state->rx, state->rx + 1, state->rx_count);
    return byte;
}

/* Reading IIR acknowledges the transmitter interrupt when it is the one reported. */
static uint8_t serial_read_iir(struct serial_state *state)
{
    uint8_t pending = serial_pending(state);
    if (pending == UART_IIR_THRI)
        state->thre_pending = 0;
    return (uint8_t)(pending | (state->fifo_enabled ? SERIAL_IIR_FIFOS : 0));
}

static uint8_t serial_read_lsr(struct serial *serial)
{
    struct serial_state *state = &serial->state;
    unsigned lsr = UART_LSR_THRE | UART_LSR_TEMT;
    if (state->rx_count > 0)
        lsr |= UART_LSR_DR;
    if (state->overrun)
        lsr |= UART_LSR_OE;
    state->overrun = 0;
    /* A driver that sends reads LSR once per byte; twice in a row is one that waits for input. */
    if (serial->lsr_read_last)
        serial_log_flush(serial->log);
    return (uint8_t)lsr;
}

/* Outside loopback the other end is always there and ready. */
static uint8_t serial_read_msr(const struct serial_state *state)
{
    if (!(state->mcr & UART_MCR_LOOP))
        return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
    unsigned msr = 0;
    if (state->mcr & UART_MCR_DTR)
        msr |= UART_MSR_DSR;
    if (state->mcr & UART_MCR_RTS)
        msr |= UART_MSR_CTS;
    if (state->mcr & UART_MCR_OUT1)
        msr |= UART_MSR_RI;
    if (state->mcr & UART_MCR_OUT2)
        msr |= UART_MSR_DCD;
    return (uint8_t)msr;
}

static uint8_t serial_read_register(struct serial *serial, uint64_t offset)
{
    struct serial_state *state = &serial->state;
    bool dlab = state->lcr & UART_LCR_DLAB;
    switch (offset) {
    case UART_RX:
        return dlab ? state->dll : serial_read_rbr(state);
    case UART_IER:
        return dlab ? state->dlm : state->ier;
    case UART_IIR:
        return serial_read_iir(state);
    case UART_LCR:
        return state->lcr;
    case UART_MCR:
        return state->mcr;
    case UART_LSR:
        return serial_read_lsr(serial);
    case UART_MSR:
        return serial_read_msr(state);
    default:
        return state->scr;
    }
}

static void serial_read(struct bus_device *device, uint64_t offset, uint8_t *data, size_t size)
{
    struct serial *serial = CONTAINER_OF(device, struct serial, bus);
    if (size != 1)
        return;
    data[0] = serial_read_register(serial, offset);
    serial->lsr_read_last = offset == UART_LSR;
    serial_update_line(serial);
}

/* ---- writing ---- */

static void serial_loop_back(struct serial_state *state, uint8_t byte)
{
    unsigned depth = state->fifo_enabled ? SERIAL_FIFO : 1;
    if (state->rx_count < depth)
        state->rx[state->rx_count++] = byte;
    else
        state->overrun = 1;
}

static void serial_write_thr(struct serial *serial, uint8_t byte)
{
    struct serial_state *state = &serial->state;
    if (state->mcr & UART_MCR_LOOP)
        serial_loop_back(state, byte);
    else
        serial_log_put(serial->log, byte);
    state->thre_pending = (state->ier & UART_IER_THRI) != 0;
}

/* Enabling the transmitter interrupt while the transmitter is empty raises it at once: Linux's 8250
 * driver starts every transmission that way. It changes IER at the end of each burst, so that is
 * also when a line without its newline (a prompt) goes out. */
static void serial_write_ier(struct serial *serial, uint8_t value)
{
    struct serial_state *state = &serial->state;
    unsigned before = state->ier;
    state->ier = value & SERIAL_IER_MASK;
    if ((before ^ state->ier) & UART_IER_THRI)
        state->thre_pending = (state->ier & UART_IER_THRI) != 0;
    serial_log_flush(serial->log);
}

static void serial_write_fcr(struct serial_state *state, uint8_t value)
{
    uint8_t enabled = value & UART_FCR_ENABLE_FIFO;
    /* Changing the enable bit empties both FIFOs. */
    if (enabled != state->fifo_enabled || (value & UART_FCR_CLEAR_RCVR))
        state->rx_count = 0;
    state->fifo_enabled = enabled;
}

static void serial_write_register(struct serial *serial, uint64_t offset, uint8_t value)
{
    struct serial_state *state = &serial->state;
    bool dlab = state->lcr & UART_LCR_DLAB;
    switch (offset) {
    case UART_TX:
        if (dlab)
            state->dll = value;
        else
            serial_write_thr(serial, value);
        break;
    case UART_IER:
        if (dlab)
            state->dlm = value;
        else
            serial_write_ier(serial, value);
        break;
    case UART_FCR:
        serial_write_fcr(state, value);
        break;
    case UART_LCR:
        state->lcr = value;
        break;
    case UART_MCR:
        state->mcr = value & SERIAL_MCR_MASK;
        break;
    case UART_SCR:
        state->scr = value;
        break;
    default: /* LSR and MSR are read-only */
        break;
    }
}

static void serial_write(struct bus_device *device, uint64_t offset, const uint8_t *data,
                         size_t size)
{
    struct serial *serial = CONTAINER_OF(device, struct serial, bus);
    if (size != 1)
        return;
    serial_write_register(serial, offset, data[0]);
    serial->lsr_read_last = false;
    serial_update_line(serial);
}

/* ---- life ---- */

struct serial *serial_create(int out_fd, int irq_fd, struct error *err)
{
    struct serial_log *log = serial_log_create(out_fd, SERIAL_LOG_LIMIT, err);
    if (!log)
        return NULL;
    struct serial *serial = calloc(1, sizeof(*serial));
    if (!serial) {
        serial_log_destroy(log);
        error_errno(err, ENOMEM, NULL, "serial port");
        return NULL;
    }
    *serial = (struct serial){
        .bus = {.name = "serial",
                .start = SERIAL_PORT,
                .length = SERIAL_LENGTH,
                .read = serial_read,
                .write = serial_write},
        .state = {.lcr = UART_LCR_WLEN8, .mcr = UART_MCR_OUT2, .dll = 12 /* 9600 baud */},
        .log = log,
        .irq_fd = irq_fd,
    };
    return serial;
}

void serial_destroy(struct serial *serial)
{
    if (!serial)
        return;
    serial_log_destroy(serial->log);
    free(serial);
}

struct bus_device *serial_bus_device(struct serial *serial)
{
    return &serial->bus;
}

/* ---- state ---- */

void serial_save(const struct serial *serial, struct state_writer *writer)
{
    serial_log_flush(serial->log);
    struct serial_state state = serial->state;
    /* What was read and is gone is not state. */
    memset(state.rx + state.rx_count, 0, SERIAL_FIFO - state.rx_count);
    state_put(writer, STATE_SERIAL, 0, SERIAL_STATE_VERSION, &state, sizeof(state));
}

static bool serial_state_valid(const struct serial_state *state)
{
    static const uint8_t zeros[sizeof(state->reserved)];
    return !(state->ier & ~SERIAL_IER_MASK) && !(state->mcr & ~SERIAL_MCR_MASK) &&
           state->fifo_enabled <= 1 && state->overrun <= 1 && state->thre_pending <= 1 &&
           state->rx_count <= (state->fifo_enabled ? SERIAL_FIFO : 1) &&
           memcmp(state->reserved, zeros, sizeof(zeros)) == 0;
}

int serial_load(struct serial *serial, const struct state_reader *reader, struct error *err)
{
    struct serial_state state;
    int status =
        state_get(reader, STATE_SERIAL, 0, SERIAL_STATE_VERSION, &state, sizeof(state), err);
    if (status < 0)
        return status;
    if (!serial_state_valid(&state))
        return error_set(err, ERROR_CORRUPT, EINVAL, "state: serial port registers are not valid");
    serial->state = state;
    /* An interrupt that was raised but not yet taken may have been lost on the way: one too many
     * does no harm, the driver finds the reason in IIR or finds none. */
    serial->line = false;
    serial->lsr_read_last = false;
    serial_update_line(serial);
    return 0;
}
