/* The process that holds a pod's namespaces: collects orphans, ends on SIGTERM and SIGINT. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void finish(int number) {
    (void)number;
    _exit(0);
}

static void collect(int number) {
    (void)number;
    while (waitpid(-1, 0, WNOHANG) > 0) {
    }
}

int main(void) {
    struct sigaction ends = {.sa_handler = finish};
    struct sigaction orphans = {.sa_handler = collect, .sa_flags = SA_NOCLDSTOP};
    sigaction(SIGTERM, &ends, 0);
    sigaction(SIGINT, &ends, 0);
    sigaction(SIGCHLD, &orphans, 0);
    for (;;) {
        pause();
    }
}
