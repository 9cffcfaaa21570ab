package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is the one process by which a cluster lives: when it ends, the kernel ends all the others.
type Process struct {
	PID int
	// started is the kernel's start time of the process, in clock ticks: a number that is used again has another one.
	started string
}

func processFile(name string) string { return filepath.Join(StateDir(name), "init.pid") }

// Remember writes down that the process with this number is the cluster's.
func Remember(name string, pid int) error {
	started, err := startTime(pid)
	if err != nil {
		return err
	}
	return os.WriteFile(processFile(name), []byte(fmt.Sprintf("%d %s\n", pid, started)), 0o644)
}

// Running returns the cluster's process, if it is alive.
func Running(name string) (Process, bool) {
	raw, err := os.ReadFile(processFile(name))
	if err != nil {
		return Process{}, false
	}
	number, started, _ := strings.Cut(strings.TrimSpace(string(raw)), " ")
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 1 {
		return Process{}, false
	}
	p := Process{PID: pid, started: started}
	return p, p.alive()
}

func (p Process) alive() bool {
	started, err := startTime(p.PID)
	return err == nil && started == p.started
}

// Kill ends the process at once and waits until it is gone.
func (p Process) Kill() error {
	if err := unix.Kill(p.PID, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end process %d: %w", p.PID, err)
	}
	return p.wait(30 * time.Second)
}

// Stop asks the process to end, and ends it if it does not.
func (p Process) Stop(patience time.Duration) error {
	if err := unix.Kill(p.PID, unix.SIGTERM); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("ask process %d to end: %w", p.PID, err)
	}
	if p.wait(patience) == nil {
		return nil
	}
	return p.Kill()
}

func (p Process) wait(patience time.Duration) error {
	for deadline := time.Now().Add(patience); p.alive(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d is still there after %s", p.PID, patience)
		}
	}
	return nil
}

// startTime is field 22 of /proc/PID/stat (proc_pid_stat(5)); a process that has ended but was not waited for counts
// as gone.
func startTime(pid int) (string, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	if err != nil {
		return "", fmt.Errorf("look at process %d: %w", pid, err)
	}
	// The second field, the program's name, may hold spaces; it ends at the last parenthesis.
	_, rest, _ := cutLast(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	return fields[19], nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
