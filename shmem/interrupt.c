/*
 * interrupt.c - asking a process to stop what it does.
 *
 * IF A PROCESS DIES between setting the bit and the latch of another, that one sees the bit when it
 * next looks; it is not woken for it.
 */
#include "shmem/interrupt.h"

#include "base/clock.h"
#include "base/panic.h"
#include "shmem/latch.h"

void
interrupt_raise(struct proc *proc, enum interrupt bits)
{
    atomic_fetch_or(&proc->interrupts, bits);
    latch_set(proc);
}

void
interrupt_raise_self(enum interrupt bits)
{
    if (proc_self != NULL)
        interrupt_raise(proc_self, bits);
}

bool
interrupt_pending(enum interrupt bits)
{
    return proc_self != NULL && (atomic_load(&proc_self->interrupts) & bits) != 0;
}

void
interrupt_clear(enum interrupt bits)
{
    if (interrupt_pending(bits)) /* mostly there is none, and to write costs more than to look */
        atomic_fetch_and(&proc_self->interrupts, ~(uint32_t)bits);
}

bool
interrupt_take(enum interrupt bits)
{
    if (!interrupt_pending(bits))
        return false;
    interrupt_clear(bits);
    return true;
}

err_t
interrupt_serve(const struct op *op)
{
    if (interrupt_pending(INTERRUPT_TERMINATE))
        return err_set(ERR_TERMINATED, "the session was ended");
    if (interrupt_take(INTERRUPT_CANCEL))
        return err_set(ERR_INTERRUPTED, "operation was interrupted");
    if (op != NULL && op->deadline_ns != 0 && clock_now_ns() >= op->deadline_ns)
        return err_set(ERR_MAX_TIME, "operation exceeded time limit");
    return OK;
}
