package cluster

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestOnlyNamesThatFitEverywhereAreAccepted(t *testing.T) {
	for _, name := range []string{"sallyport", "t1", "a-b-c"} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "Upper", "1st", "-a", "a-", "a_b", "../up", "a/b", "abcdefghijklmnopqrstuvwxy"} {
		if CheckName(name) == nil {
			t.Errorf("name %q was accepted", name)
		}
	}
}

func TestASavedClusterIsLoadedAsItWas(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if _, err := Load("x"); !errors.Is(err, ErrNoCluster) {
		t.Fatalf("loading what is not there: %v", err)
	}
	saved := Spec{Name: "x", Kind: Node, Kubernetes: "v1.36.3", Slot: 7, Programs: map[string]string{"kubectl": "/x/kubectl"}}
	if err := os.MkdirAll(StateDir("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := saved.Save(); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load("x")
	if err != nil {
		t.Fatal(err)
	}
	if loaded.NodeIP() != "172.30.7.2" || loaded.APIServer() != "https://172.30.7.2:6443" || loaded.Programs["kubectl"] != "/x/kubectl" {
		t.Errorf("loaded %+v", loaded)
	}
	if address, err := RegistryAddr("x"); err != nil || address != "172.30.7.2:5000" {
		t.Errorf("registry %q, %v", address, err)
	}
	if names, err := Names(); err != nil || len(names) != 1 || names[0] != "x" {
		t.Errorf("clusters %v, %v", names, err)
	}
}

func TestAControlPlaneListensOnLoopbackAndHasNoRegistry(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	s := Spec{Name: "cp", Kind: ControlPlane, Ports: Ports{APIServer: 1001, Etcd: 1002, EtcdPeer: 1003}}
	if s.APIServer() != "https://127.0.0.1:1001" || s.EtcdURL() != "https://127.0.0.1:1002" {
		t.Errorf("addresses %s, %s", s.APIServer(), s.EtcdURL())
	}
	if err := os.MkdirAll(StateDir("cp"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	if _, err := RegistryAddr("cp"); err == nil {
		t.Error("a control plane has a registry")
	}
}

func TestANewClusterGetsTheLowestNetworkThatNobodyUses(t *testing.T) {
	_, network, _ := net.ParseCIDR("172.30.1.1/24")
	_, other, _ := net.ParseCIDR("10.0.0.1/8")
	foreign := slotsOf([]net.Addr{network, other})
	if slot, err := lowestFree(append([]int{0, 3}, foreign...)); err != nil || slot != 2 {
		t.Errorf("slot %d, %v", slot, err)
	}
	var all []int
	for slot := range maxSlots {
		all = append(all, slot)
	}
	if _, err := lowestFree(all); err == nil {
		t.Error("a slot was found where all are in use")
	}
}

func TestAProcessIsNotTakenForALaterOneWithItsNumber(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	if err := os.MkdirAll(StateDir("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("sleep", "60")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer command.Wait()
	if err := Remember("x", command.Process.Pid); err != nil {
		t.Fatal(err)
	}
	process, ok := Running("x")
	if !ok || process.PID != command.Process.Pid {
		t.Fatalf("the process is not found: %+v", process)
	}
	impostor := Process{PID: process.PID, started: "1"}
	if impostor.alive() {
		t.Error("another start time was taken for the same process")
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, ok := Running("x"); ok {
		t.Error("an ended process counts as running")
	}
}

func TestALockIsHeldByOneAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "lock")
	unlock, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	entered := make(chan struct{})
	go func() {
		second, err := Lock(path)
		if err == nil {
			second()
		}
		close(entered)
	}()
	select {
	case <-entered:
		t.Fatal("two hold the lock")
	default:
	}
	unlock()
	<-entered
}
