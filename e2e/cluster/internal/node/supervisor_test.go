package node

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newSupervisor(t *testing.T) *supervisor {
	t.Helper()
	return &supervisor{logs: t.TempDir(), log: slog.New(slog.DiscardHandler)}
}

// await waits until the service's status is as wanted.
func await(t *testing.T, r *running, wanted func(ServiceStatus) bool) ServiceStatus {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if status := r.snapshot(); wanted(status) {
			return status
		}
	}
	t.Fatalf("it stays %+v", r.snapshot())
	return ServiceStatus{}
}

func phase(p Phase) func(ServiceStatus) bool {
	return func(s ServiceStatus) bool { return s.Phase == p }
}

func shell(name, script string) service {
	return service{name: name, program: "/bin/sh", args: []string{"-c", script}}
}

func TestAComponentThatEndsIsStartedAgain(t *testing.T) {
	v := newSupervisor(t)
	r := v.start(t.Context(), shell("x", "sleep 0.1"))
	status := await(t, r, func(s ServiceStatus) bool { return s.Restarts > 0 && s.Phase == Ready })
	if status.PID == 0 {
		t.Errorf("it runs without a process: %+v", status)
	}
	if err := v.stop("x"); err != nil {
		t.Fatal(err)
	}
}

func TestAComponentThatNeverDoesItsWorkFailsWithItsReason(t *testing.T) {
	v := newSupervisor(t)
	s := shell("x", "echo no disk >&2; exit 3")
	s.ready = func(context.Context) error { return errors.New("nobody listens") }
	status := await(t, v.start(t.Context(), s), phase(Failed))
	if !strings.Contains(status.Reason, "exit status 3") {
		t.Errorf("reason %q", status.Reason)
	}
	if log, err := os.ReadFile(status.Log); err != nil || string(log) != "no disk\n" {
		t.Errorf("log %q, %v", log, err)
	}
}

func TestAComponentWaitsForThoseThatItNeeds(t *testing.T) {
	v := newSupervisor(t)
	gate := filepath.Join(t.TempDir(), "open")
	first := shell("first", "sleep 60")
	first.ready = func(context.Context) error { _, err := os.Stat(gate); return err }
	a := v.start(t.Context(), first)
	second := shell("second", "sleep 60")
	second.after = []string{"first"}
	b := v.start(t.Context(), second)
	await(t, a, phase(Starting))
	if status := await(t, b, phase(Waiting)); status.PID != 0 {
		t.Errorf("it did not wait: %+v", status)
	}
	if err := os.WriteFile(gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	await(t, b, phase(Ready))
}

func TestAStoppedComponentIsGone(t *testing.T) {
	v := newSupervisor(t)
	// It ignores the request to end.
	r := v.start(t.Context(), shell("x", "trap '' TERM; while :; do sleep 0.05; done"))
	await(t, r, phase(Ready))
	if err := v.stop("x"); err != nil {
		t.Fatal(err)
	}
	if len(v.statuses()) != 0 {
		t.Errorf("it is still listed: %+v", v.statuses())
	}
	if err := v.stop("x"); err == nil {
		t.Error("what is not there was stopped")
	}
}
