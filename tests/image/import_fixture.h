/* SPDX-License-Identifier: Apache-2.0 */
/* A store of images in a directory of its own, and imports into it. */
#ifndef TINE_TESTS_IMAGE_IMPORT_FIXTURE_H
#define TINE_TESTS_IMAGE_IMPORT_FIXTURE_H

#include "image/image.h"

struct import_fixture {
    char dir[32];  /* with what nobody may touch: "canary" */
    char data[48]; /* below it */
    struct store *store;
    struct image_store *images;
};

/* For cmocka: the state is the fixture, and it is open. */
int import_setup(void **state);
int import_teardown(void **state);
void import_open(struct import_fixture *fixture);
void import_close(struct import_fixture *fixture);

/* How many names there are in images/, and that nothing beside it has changed. */
size_t names_left(const struct import_fixture *fixture);
size_t rows_left(const struct import_fixture *fixture);

/* An archive, piece by piece: what image_import_begin() or image_import_finish() says. */
int import_request(const struct import_fixture *fixture, const struct image_import_request *request,
                   const char *data, size_t length, struct image *image, struct error *err);
int import_tar(const struct import_fixture *fixture, const char *name, const char *data,
               size_t length, struct image *image, struct error *err);
/* An archive that must not become an image, for a reason that has these words; nothing is left. */
void import_refused(const struct import_fixture *fixture, const char *data, size_t length,
                    enum error_code code, const char *words);

/* What debugfs(8) says about the image's disk. Owner: caller. */
char *disk_ask(const struct import_fixture *fixture, const struct image *image,
               const char *request);
void disk_says(const struct import_fixture *fixture, const struct image *image, const char *request,
               const char *words);

/* An archive with what archives have, through a filter of libarchive's. Owner: caller. */
char *good_tar(const char *filter, size_t *length);

#endif
