/* How late a C program wakes from an absolute sleep: absolute_sleep PERIOD_NS COUNT prints a line per wake-up. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SECOND_NS 1000000000LL

int main(int count, char **words)
{
    struct timespec now, due;
    long long period_ns, due_ns;

    if (count != 3)
        return 64;
    period_ns = atoll(words[1]);
    clock_gettime(CLOCK_BOOTTIME, &now);
    due_ns = now.tv_sec * SECOND_NS + now.tv_nsec;
    for (long left = atol(words[2]); left > 0; left--) {
        due_ns += period_ns;
        due.tv_sec = due_ns / SECOND_NS;
        due.tv_nsec = due_ns % SECOND_NS;
        while (clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &due, NULL) == EINTR)
            continue;
        clock_gettime(CLOCK_BOOTTIME, &now);
        printf("%lld\n", (now.tv_sec * SECOND_NS + now.tv_nsec - due_ns) / 1000);
    }
    return 0;
}
