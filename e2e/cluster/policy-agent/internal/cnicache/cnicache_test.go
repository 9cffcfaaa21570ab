package cnicache

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

const (
	podEntry = `{"kind":"cniCacheV1","ifName":"eth0","networkName":"sallyport","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_UID","uid-1"]],
"result":{"cniVersion":"1.0.0","ips":[{"address":"10.244.0.5/32","gateway":"10.244.0.1"},{"address":"fd00::5/128"}]}}`
	loopbackEntry = `{"kind":"cniCacheV1","ifName":"lo","cniArgs":[["K8S_POD_UID","uid-1"]],"result":{"ips":[{"address":"127.0.0.1/8"},{"address":"::1/128"}]}}`
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAPodsAddressesAreThoseThatPluginsGaveIt(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "sallyport-1-eth0", podEntry)
	write(t, dir, "cni-loopback-1-lo", loopbackEntry)
	write(t, dir, "sallyport-2-eth0", podEntry[:80])
	write(t, dir, "sallyport-3-eth0", `{"cniArgs":null,"result":{"ips":[{"address":"10.244.0.9/32"}]}}`)
	got, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Addr{netip.MustParseAddr("10.244.0.5"), netip.MustParseAddr("fd00::5")}
	if len(got) != 1 || !slices.Equal(got["uid-1"], want) {
		t.Errorf("got %v", got)
	}
}

func TestEveryChangeOfTheFolderIsReported(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "yet", "there")
	changes := make(chan struct{}, 100)
	if err := Watch(t.Context(), dir, func() { changes <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(){
		func() { write(t, dir, "a", podEntry) },
		func() {
			if err := os.Remove(filepath.Join(dir, "a")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for len(changes) > 0 {
			<-changes
		}
		change()
		select {
		case <-changes:
		case <-time.After(10 * time.Second):
			t.Fatal("no change was reported")
		}
	}
}
