// Package progress tells the person at the terminal what is being done, one line a step, on standard error.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// heartbeat is how often a step that takes long says that it is still under way, where lines cannot be overwritten.
const heartbeat = 30 * time.Second

var (
	out      io.Writer = os.Stderr
	terminal           = isTerminal(os.Stderr)
)

// Step is one thing that is being done.
type Step struct {
	title string
	begun time.Time
	stop  chan struct{}
	ended sync.WaitGroup

	mu   sync.Mutex
	note string
}

// Start shows that a step has begun. Done must be called.
func Start(format string, args ...any) *Step {
	s := &Step{title: fmt.Sprintf(format, args...), begun: time.Now(), stop: make(chan struct{})}
	s.ended.Go(s.show)
	return s
}

// Note replaces the few words that say how far the step is.
func (s *Step) Note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note = fmt.Sprintf(format, args...)
}

// Done shows how the step ended and how long it took.
func (s *Step) Done(err error) {
	close(s.stop)
	s.ended.Wait()
	mark := "✓"
	if err != nil {
		mark = "✗"
	}
	if terminal {
		fmt.Fprint(out, "\r\033[K")
	}
	fmt.Fprintf(out, "%s %s  %s\n", mark, s.title, elapsed(s.begun))
}

// Do runs one step.
func Do(title string, do func() error) error {
	s := Start("%s", title)
	err := do()
	s.Done(err)
	return err
}

// Say prints a line between steps.
func Say(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }

func (s *Step) show() {
	interval := heartbeat
	if terminal {
		interval = 200 * time.Millisecond
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ticker.C:
			s.mu.Lock()
			line := fmt.Sprintf("… %s  %s  %s", s.title, elapsed(s.begun), s.note)
			s.mu.Unlock()
			if terminal {
				fmt.Fprint(out, "\r\033[K", line)
			} else {
				fmt.Fprintln(out, line)
			}
		}
	}
}

func elapsed(since time.Time) string {
	d := time.Since(since)
	if d < time.Minute {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
