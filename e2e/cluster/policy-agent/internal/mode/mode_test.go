package mode

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestModesAreReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]Mode{
		"": {}, "on\n": {}, "off": {Off: true}, " lag  5s\n": {Lag: 5 * time.Second}, "lag 250ms": {Lag: 250 * time.Millisecond},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%q is not read back: %v, %v", got.String(), again, err)
		}
	}
}

func TestWhatIsNoModeIsRefused(t *testing.T) {
	for _, text := range []string{"no", "lag", "lag soon", "lag -1s", "lag 0s", "on off"} {
		if got, err := Parse(text); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

func TestAWatchedFileReportsChangesAndErrorsOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mode")
	changes, errs := make(chan Mode), make(chan error)
	go Watch(t.Context(), path, time.Millisecond, Mode{}, changes, func(err error) { errs <- err })
	write := func(text string) {
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	expect := func(want Mode) {
		t.Helper()
		select {
		case got := <-changes:
			if got != want {
				t.Fatalf("got %v, want %v", got, want)
			}
		case err := <-errs:
			t.Fatal(err)
		case <-ctx.Done():
			t.Fatalf("no change to %v was reported", want)
		}
	}
	write("off")
	expect(Mode{Off: true})
	write("nonsense")
	if err := <-errs; err == nil {
		t.Fatal("no error")
	}
	write("lag 5s")
	expect(Mode{Lag: 5 * time.Second})
	write("on")
	expect(Mode{})
}
