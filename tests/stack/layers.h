/* SPDX-License-Identifier: Apache-2.0 */
/* Layers for tests: pages whose content is a function of page and seed, and files in memory. */
#ifndef TINE_TESTS_STACK_LAYERS_H
#define TINE_TESTS_STACK_LAYERS_H

#include <stddef.h>
#include <stdint.h>

#include "stack/layer.h"

#define PAGE LAYER_PAGE_SIZE

/* Never zero. */
void page_fill(uint8_t page[PAGE], uint64_t number, unsigned seed);
/* An empty file in memory; owner: caller. */
int memory_file(void);
/* A file in memory with these bytes; owner: caller. */
int memory_file_of(const uint8_t *bytes, size_t length);
/* All bytes of a file; owner: caller. */
uint8_t *file_bytes(int fd, size_t *length);
/* A fresh directory; its path goes to `path`. */
int scratch_directory(char path[32]);

/* Writes a layer of an image of `pages` pages: `kinds` has a letter for each, 'd' data, 'z' zeros
 * that are told, 'f' zeros that must be found, '-' nothing; cut off at its end. */
void layer_write(int fd, const char *kinds, uint64_t pages, unsigned seed);

#endif
