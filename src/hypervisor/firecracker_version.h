/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/hypervisor: versions of Firecracker, and what each knows. */
#ifndef TINE_HYPERVISOR_FIRECRACKER_VERSION_H
#define TINE_HYPERVISOR_FIRECRACKER_VERSION_H

#include "base/error.h"
#include "hypervisor/api_driver.h"

struct firecracker_version {
    unsigned major, minor, patch;
    bool unfinished; /* "1.17.0-dev": on its way to that version */
    char text[48];   /* as Firecracker says it, without a leading v */
};

/* "1.16.1", "v1.16.1" or "1.17.0-dev". ERROR_UNSUPPORTED quotes what is no version. */
int firecracker_version_parse(const char *text, struct firecracker_version *version,
                              struct error *err);

/* What `firecracker --version` prints: "Firecracker v1.16.1" in its first line. ERROR_UNSUPPORTED
 * where `path`, which printed it, is another program. */
int firecracker_version_of_program(const char *path, const char *line,
                                   struct firecracker_version *version, struct error *err);

/* ERROR_UNSUPPORTED for a version that is too old. */
int firecracker_version_check(const struct firecracker_version *version, struct error *err);

/* What that version knows. An unfinished one counts as the one before: at which point of its way
 * it was built it does not tell. */
struct api_abilities firecracker_abilities(const struct firecracker_version *version);

#endif
