/*
 * main.c - a game of random operations against the model, in as many lives as it takes.
 *
 *     model [--seed N] [--operations N] [--kill-every N] [--reopen-every N] [--compare-every N]
 *           [--directory DIR]
 *
 * The process forks one that plays.  When that one is killed, as it arranges for itself now and
 * then, the next opens the directory, finds out how far its predecessor came, and goes on.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fault.h"
#include "client/gneiss.h"
#include "tests/model/compare.h"
#include "tests/model/draw.h"
#include "tests/model/drive.h"
#include "tests/model/play.h"
#include "tests/model/world.h"

#define LAST_BREATH 1500 /* operations after which a life ends whose fault did not come */

static struct {
    uint64_t seed, operations, kill_every, reopen_every, compare_every;
    const char *directory;
} game = { 1, 100000, 20000, 7000, 1000, NULL };

/* ---- ends ---- */

/* SIGKILL for this process, from the kernel, in the middle of whatever is going on. */
static void
die_in(long microseconds)
{
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
    struct itimerspec time = { .it_value = { .tv_sec = 0, .tv_nsec = microseconds * 1000 } };
    timer_t timer;

    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
        timer_settime(timer, 0, &time, NULL) != 0)
        perror("a timer");
}

#ifdef GNEISS_FAULTS
static void
disarm(void)
{
    char text[sizeof world->fault + 8];

    if (world->fault[0] == '\0')
        return;
    (void)snprintf(text, sizeof text, "%s=off", world->fault);
    (void)fault_arm(text);
    world->fault[0] = '\0';
}

static void
arm(const char *name, unsigned nth)
{
    char text[sizeof world->fault + 24];

    (void)snprintf(world->fault, sizeof world->fault, "%s", name);
    (void)snprintf(text, sizeof text, "%s=kill:%u", name, nth);
    (void)fault_arm(text);
}

/* A point that this game has passed before. */
static bool
arm_any(void)
{
    for (unsigned tries = 0; tries < 20; tries++) {
        enum fault point = 1 + (enum fault)draw_below(FAULT_COUNT - 1);

        if (fault_passes(point) == 0)
            continue;
        arm(fault_name(point), 1 + (unsigned)draw_below(8));
        return true;
    }
    return false;
}
#else
static void
disarm(void)
{
}
static void
arm(const char *name, unsigned nth)
{
    (void)name;
    (void)nth;
}
static bool
arm_any(void)
{
    return false;
}
#endif

static void
end_soon(void)
{
    world->armed = true;
    world->armed_at = world->operation;
    if (draw_once_in(4) || !arm_any())
        die_in(1 + (long)draw_below(20000));
}

/* ---- a life ---- */

static void
reopen(void)
{
    play_rest();
    drive_close();
    drive_open(game.directory, world->seed);
    world->reopens++;
}

static void
begin_life(bool after_kill)
{
    disarm();
    draw_seed(~world->seed, world->operation + world->kills + world->kills_in_recovery);
    world->recovering = after_kill;
    if (after_kill && draw_once_in(3))
        arm("RECOVERY_RECORD", 1 + (unsigned)draw_below(200));
    drive_open(game.directory, world->seed);
    disarm();
    world->recovering = false;
    if (after_kill)
        compare_settle();
}

static void
live(bool after_kill)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    world->armed = false;
    begin_life(after_kill);
    while (world->operation < game.operations) {
        world->operation++;
        play_operation();
        if (world->operation % game.compare_every == 0)
            compare_all();
        if (world->armed && world->operation > world->armed_at + LAST_BREATH)
            (void)raise(SIGKILL);
        if (!world->armed && game.kill_every > 0 && draw_once_in((unsigned)game.kill_every))
            end_soon();
        if (!world->armed && game.reopen_every > 0 && draw_once_in((unsigned)game.reopen_every))
            reopen();
    }
    disarm();
    reopen();
    compare_all();
    drive_close();
    world->ends = true;
    _exit(0);
}

/* ---- all of them ---- */

static void
play(void)
{
    bool after_kill = false;

    while (!world->ends) {
        pid_t child = fork();
        int status = 0;

        if (child < 0) {
            perror("fork");
            exit(2);
        }
        if (child == 0)
            live(after_kill);
        (void)waitpid(child, &status, 0);
        if (world->ends)
            return;
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL ||
            !(world->armed || world->recovering)) {
            if (WIFSIGNALED(status)) {
                (void)fprintf(stderr,
                    "DIED of signal %d at operation %" PRIu64 " of seed %" PRIu64 "\n",
                    WTERMSIG(status), world->operation, world->seed);
                world_print_last(5);
            }
            (void)fprintf(stderr, "the directory is left: %s\n", game.directory);
            exit(1);
        }
        if (world->recovering)
            world->kills_in_recovery++;
        else
            world->kills++;
        after_kill = true;
    }
}

static void
parse(int argc, char **argv)
{
    static const struct {
        const char *name;
        uint64_t *number;
    } options[] = { { "--seed", &game.seed }, { "--operations", &game.operations },
        { "--kill-every", &game.kill_every }, { "--reopen-every", &game.reopen_every },
        { "--compare-every", &game.compare_every } };

    for (int i = 1; i + 1 < argc; i += 2) {
        bool known = strcmp(argv[i], "--directory") == 0;

        if (known)
            game.directory = argv[i + 1];
        for (size_t k = 0; k < sizeof options / sizeof *options; k++)
            if (strcmp(argv[i], options[k].name) == 0) {
                *options[k].number = strtoull(argv[i + 1], NULL, 10);
                known = true;
            }
        if (!known) {
            (void)fprintf(
                stderr, "unknown option %s; the head of tests/model/main.c lists them\n", argv[i]);
            exit(2);
        }
    }
    if (game.compare_every == 0)
        game.compare_every = 1000;
}

int
main(int argc, char **argv)
{
    char made[] = "/dev/shm/gneiss-model-XXXXXX", command[4200];
    bool own = false;

    parse(argc, argv);
    if (game.directory == NULL) {
        if (access("/dev/shm", W_OK) != 0)
            memcpy(made, "/tmp/////", 9);
        game.directory = mkdtemp(made);
        own = true;
    }
    if (game.directory == NULL) {
        perror("a directory for the game");
        return 2;
    }
    world_make(game.seed);
    play();
    if (own) {
        (void)snprintf(command, sizeof command, "rm -rf '%s'", game.directory);
        if (system(command) != 0)
            (void)fprintf(stderr, "could not remove %s\n", game.directory);
    }
    (void)printf("seed %" PRIu64 ": %" PRIu64 " operations, %" PRIu64
                 " changes of documents, %" PRIu64 " documents read, %" PRIu64 " refusals, %" PRIu64
                 " cursors, %" PRIu64 " indexes made, %" PRIu64 " vacuums, %" PRIu64
                 " checkpoints, %" PRIu64 " reopened, %" PRIu64 " kills, %" PRIu64
                 " of recovery, %" PRIu64 " steps taken back, %" PRIu64
                 " whole comparisons, 0 differences\n",
        world->seed, world->operation, world->changes, world->found, world->conflicts,
        world->cursors, world->built, world->vacuums, world->checkpoints, world->reopens,
        world->kills, world->kills_in_recovery, world->undone, world->compares);
    return 0;
}
