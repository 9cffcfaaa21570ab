// Package cluster says what a cluster is: its name, its addresses, where its files are, and how it is remembered
// between two runs of the tool.
package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// DefaultName is the cluster that commands mean when no name is given.
const DefaultName = "sallyport"

// MaxNameLength keeps the path of a cluster's control socket within the kernel's 108 bytes for ordinary home folders.
const MaxNameLength = 24

var namePattern = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

// CheckName tells whether name can be a cluster's name.
func CheckName(name string) error {
	if len(name) > MaxNameLength || !namePattern.MatchString(name) {
		return fmt.Errorf("cluster name %q: use at most %d lower-case letters, digits and dashes, starting with a letter", name, MaxNameLength)
	}
	return nil
}

// CacheDir is where everything lives that outlasts a checkout: built binaries, images, clusters' state. It is
// $XDG_CACHE_HOME/sallyport, or ~/.cache/sallyport.
func CacheDir() string {
	if base := os.Getenv("XDG_CACHE_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "sallyport")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = os.TempDir()
	}
	return filepath.Join(home, ".cache", "sallyport")
}

// ClustersDir holds one folder for each cluster.
func ClustersDir() string { return filepath.Join(CacheDir(), "clusters") }

// StateDir is the folder of one cluster: kubeconfig, keys, logs, data. `down` removes it whole.
func StateDir(name string) string { return filepath.Join(ClustersDir(), name) }

// Kubeconfig is the path of the cluster administrator's kubeconfig.
func Kubeconfig(name string) string { return filepath.Join(StateDir(name), "kubeconfig") }

// LogDir holds one log for each component of the cluster, and the API server's audit log (audit.jsonl).
func LogDir(name string) string { return filepath.Join(StateDir(name), "log") }

// HostsDir holds one file of JSON lines for each test host of the outside world: what it received.
func HostsDir(name string) string { return filepath.Join(StateDir(name), "hosts") }

// ImagesFile lists the images that were loaded into the cluster, by name, with their digests.
func ImagesFile(name string) string { return filepath.Join(StateDir(name), "images.json") }

// PolicyModeFile tells the policy agent whether and how late to enforce; it is re-read when it changes.
func PolicyModeFile(name string) string { return filepath.Join(StateDir(name), "policy-agent.mode") }

// ControlSocket is where the cluster's supervisor answers questions and takes orders, as HTTP over a unix socket.
func ControlSocket(name string) string { return filepath.Join(StateDir(name), "control.sock") }

// BinDir holds a link to each program of the cluster.
func BinDir(name string) string { return filepath.Join(StateDir(name), "bin") }
