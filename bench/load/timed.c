/*
 * Runs a command and writes what it used: "SECONDS_OF_CPU PEAK_RSS_KIB EXIT_STATUS", whole process from its start on.
 *
 *     timed REPORT_FILE COMMAND...
 *
 * A process of its own because Linux counts the memory of whoever forks towards the peak of the child: here that is
 * next to nothing.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static double seconds(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec / 1e6; }

int main(int count, char **arguments) {
    if (count < 3) return 2;
    pid_t child = fork();
    if (child < 0) return 1;
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(arguments[2], arguments + 2);
        perror(arguments[2]);
        _exit(127);
    }
    int status;
    struct rusage used;
    FILE *report = fopen(arguments[1], "w");
    if (!report || wait4(child, &status, 0, &used) != child) return 1;
    status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    fprintf(report, "%.6f %ld %d\n", seconds(used.ru_utime) + seconds(used.ru_stime), used.ru_maxrss, status);
    return fclose(report) ? 1 : 0;
}
