package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"sallyport.dev/e2e/cluster/policy-agent/internal/mode"
	"sallyport.dev/e2e/cluster/policy-agent/internal/policy"
	"sallyport.dev/e2e/cluster/policy-agent/internal/ruleset"
)

// harness runs an agent's loop on a simulated clock against a kernel that only remembers.
type harness struct {
	pods         int
	failures     int
	inForce      string
	transactions int
	modes        chan mode.Mode
	changes      chan struct{}
}

func start(t *testing.T, m mode.Mode) *harness {
	h := &harness{modes: make(chan mode.Mode), changes: make(chan struct{})}
	a := Agent{
		Snapshot: func() (policy.Snapshot, error) {
			var s policy.Snapshot
			for i := range h.pods {
				p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: fmt.Sprint(i)}}
				p.Status.PodIPs = []corev1.PodIP{{IP: fmt.Sprintf("10.244.0.%d", i+1)}}
				s.Pods = append(s.Pods, p)
			}
			return s, nil
		},
		Run: func(_ context.Context, transaction string) error {
			if h.failures > 0 {
				h.failures--
				return errors.New("refused")
			}
			h.inForce = transaction
			h.transactions++
			return nil
		},
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		Log:      slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { a.Loop(ctx, m, h.modes, h.changes); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return h
}

func (h *harness) addPod() {
	h.pods++
	h.changes <- struct{}{}
	synctest.Wait()
}

func (h *harness) knows(pods int) bool {
	return strings.Contains(h.inForce, fmt.Sprintf("10.244.0.%d", pods)) && !strings.Contains(h.inForce, fmt.Sprintf("10.244.0.%d", pods+1))
}

func TestAChangeIsInForceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, mode.Mode{})
		h.addPod()
		if !h.knows(1) || !strings.Contains(h.inForce, "!= @pods4 goto refuse") {
			t.Errorf("in force:\n%s", h.inForce)
		}
	})
}

func TestAChangeThatChangesNoRuleRunsNoTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, mode.Mode{})
		before := h.transactions
		h.changes <- struct{}{}
		synctest.Wait()
		if h.transactions != before {
			t.Errorf("%d transactions", h.transactions-before)
		}
	})
}

func TestWithLagEveryChangeIsThatLateAndUnknownPodsAreOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, mode.Mode{Lag: 5 * time.Second})
		h.addPod()
		time.Sleep(2 * time.Second)
		h.addPod()
		if strings.Contains(h.inForce, "!= @pods") || h.knows(1) {
			t.Errorf("in force after 2 s:\n%s", h.inForce)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if !h.knows(1) {
			t.Errorf("in force after 5 s:\n%s", h.inForce)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !h.knows(2) {
			t.Errorf("in force after 7 s:\n%s", h.inForce)
		}
	})
}

func TestOffRemovesTheFilterAndOnBringsItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, mode.Mode{})
		h.modes <- mode.Mode{Off: true}
		synctest.Wait()
		h.addPod()
		if h.inForce != ruleset.Removal {
			t.Errorf("in force while off:\n%s", h.inForce)
		}
		h.modes <- mode.Mode{}
		synctest.Wait()
		if !h.knows(1) {
			t.Errorf("in force after on:\n%s", h.inForce)
		}
	})
}

func TestARefusedTransactionIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, mode.Mode{})
		h.failures = 2
		h.addPod()
		if h.knows(1) {
			t.Fatal("the failure did not happen")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if !h.knows(1) {
			t.Errorf("in force:\n%s", h.inForce)
		}
	})
}
