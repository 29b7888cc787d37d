/* SPDX-License-Identifier: Apache-2.0 */
/* Where the other parts of an installation are, seen from the running program. */
#ifndef TINE_API_LOCATE_H
#define TINE_API_LOCATE_H

#define DEFAULT_DATA_DIR "/var/lib/tine"
#define DEFAULT_RUN_DIR  "/run/tine"
#define DEFAULT_SOCKET   DEFAULT_RUN_DIR "/tined.sock"

/* tine-vmm: $TINE_VMM, else beside this program, in its build tree, or in the installation's
 * libexec directory. The first that exists, else the last of these. Owner: caller; NULL for lack of
 * memory. */
char *locate_vmm(void);
/* tine-pager, the same way: $TINE_PAGER. */
char *locate_pager(void);
/* The guest kit: $TINE_KIT, else share/tine/kit beside this program or beside its directory, in its
 * build tree, or of the installation. The first that exists, or NULL. */
char *locate_kit(void);

#endif
