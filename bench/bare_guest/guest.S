/* SPDX-License-Identifier: Apache-2.0 */
/* A guest of a few instructions, entered in long mode at 1 MiB: writes PAGES pages from 4 MiB on, over and over,
 * or, if there are none, stands still. */
    .globl _start
_start:
    mov $PAGES, %ecx
    test %ecx, %ecx
    jz 2f
    mov $0x400000, %edi
1:  mov %rcx, (%rdi)
    add $4096, %rdi
    dec %ecx
    jnz 1b
    jmp _start
2:  cli
    hlt
    jmp 2b
    .section .note.GNU-stack, "", @progbits
