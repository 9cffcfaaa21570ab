/*
 * The first process of a pod sandbox: it holds the pod's namespaces open, reaps the children that it inherits where
 * the pod shares its PID namespace, and ends when it is told to.
 */
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(int signal) {
	(void)signal;
	while (waitpid(-1, NULL, WNOHANG) > 0) {
	}
}

static void end(int signal) {
	(void)signal;
	_exit(0);
}

int main(void) {
	const struct sigaction on_child = {.sa_handler = reap, .sa_flags = SA_NOCLDSTOP};
	const struct sigaction on_end = {.sa_handler = end};
	if (sigaction(SIGCHLD, &on_child, NULL) < 0 || sigaction(SIGTERM, &on_end, NULL) < 0 ||
	    sigaction(SIGINT, &on_end, NULL) < 0) {
		return 1;
	}
	for (;;) {
		pause();
	}
}
