/* SPDX-License-Identifier: Apache-2.0 */
/* A stand-in for Firecracker's jailer: copies the program into <base>/<name>/<id>/root, makes that
 * its root, with the host's libraries in it, and goes on as the program, under another user. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void die(const char *what)
{
    fprintf(stderr, "fake-jailer: %s: %s\n", what, strerror(errno));
    exit(1);
}

static const char *value_of(int argc, char **argv, const char *option)
{
    for (int i = 1; i + 1 < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], option) == 0)
            return argv[i + 1];
    }
    fprintf(stderr, "fake-jailer: %s is missing\n", option);
    exit(153);
}

static void copy_program(const char *from, const char *to, uid_t uid, gid_t gid)
{
    struct stat st;
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    if (in < 0 || out < 0 || fstat(in, &st) < 0 || fchown(out, uid, gid) < 0)
        die(to);
    for (off_t done = 0; done < st.st_size;) {
        if (sendfile(out, in, &done, (size_t)(st.st_size - done)) <= 0)
            die("copy");
    }
    close(out);
}

static void show_libraries(const char *root)
{
    static const char *const directories[] = {"/lib", "/lib64", "/usr"};
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        snprintf(path, sizeof(path), "%s%s", root, directories[i]);
        if (mkdir(path, 0755) < 0 || mount(directories[i], path, NULL, MS_BIND, NULL) < 0)
            die(path);
    }
}

static void enter(const char *root)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0 ||
        mount(root, root, NULL, MS_BIND | MS_REC, NULL) < 0 || chdir(root) < 0 ||
        mkdir("old_root", 0600) < 0 || syscall(SYS_pivot_root, ".", "old_root") < 0 ||
        chdir("/") < 0 || umount2("old_root", MNT_DETACH) < 0 || rmdir("old_root") < 0)
        die(root);
}

int main(int argc, char **argv)
{
    const char *id = value_of(argc, argv, "--id"), *program = value_of(argc, argv, "--exec-file");
    const char *base = value_of(argc, argv, "--chroot-base-dir");
    uid_t uid = (uid_t)strtoul(value_of(argc, argv, "--uid"), NULL, 10);
    gid_t gid = (gid_t)strtoul(value_of(argc, argv, "--gid"), NULL, 10);
    const char *name = strrchr(program, '/') + 1;
    char root[256], path[512];
    snprintf(root, sizeof(root), "%s/%s/%s/root", base, name, id);
    snprintf(path, sizeof(path), "%s/%s", root, name);
    copy_program(program, path, uid, gid);
    show_libraries(root);
    enter(root);
    if (chown("/run", uid, gid) < 0 || chmod("/run", 0700) < 0 || setgroups(0, NULL) < 0 ||
        setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        die("become the user");
    char *arguments[16] = {path + strlen(root), (char *)"--id", (char *)id};
    int count = 3, i = 1;
    while (i < argc && strcmp(argv[i], "--") != 0)
        i++;
    for (i++; i < argc && count < 15; i++)
        arguments[count++] = argv[i];
    execv(arguments[0], arguments);
    die(arguments[0]);
}
