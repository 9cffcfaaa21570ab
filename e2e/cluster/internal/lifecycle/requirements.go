package lifecycle

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"sallyport.dev/e2e/cluster/internal/cluster"
)

// requirement is a program or file of the machine that a cluster cannot do without.
type requirement struct {
	what    string // for the reader
	present func() bool
	// debian is the Debian package that brings it. deps.sh lists the same packages.
	debian string
}

var nodeRequirements = []requirement{
	{what: "iptables (for kube-proxy)", present: inPath("iptables"), debian: "iptables"},
	{what: "nft (for the policy agent)", present: inPath("nft"), debian: "nftables"},
	{what: "nsenter (for exec)", present: inPath("nsenter"), debian: "util-linux"},
	{what: "mount (for the kubelet)", present: inPath("mount"), debian: "mount"},
	{what: "gcc (for runc)", present: inPath("gcc"), debian: "gcc"},
	{what: "the C library's headers (for runc)", present: exists("/usr/include/stdio.h"), debian: "libc6-dev"},
	{what: "pkg-config (for runc)", present: inPath("pkg-config"), debian: "pkg-config"},
	{what: "libseccomp's headers (for runc)", present: exists("/usr/include/seccomp.h"), debian: "libseccomp-dev"},
}

// checkMachine tells whether a cluster of this kind can run here; the error names everything that is missing.
func checkMachine(kind cluster.Kind) error {
	if kind == cluster.ControlPlane {
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("a cluster with a node needs root, for its namespaces: run this as root (sudo -E), " +
			"or start only the API server with: sallyport-cluster up --control-plane-only")
	}
	var missing, packages []string
	for _, r := range nodeRequirements {
		if !r.present() {
			missing = append(missing, r.what)
			packages = append(packages, r.debian)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("this machine lacks %s; install with: apt-get install %s (or: make deps)",
			strings.Join(missing, ", "), strings.Join(packages, " "))
	}
	return nil
}

func inPath(program string) func() bool {
	return func() bool {
		_, err := exec.LookPath(program)
		return err == nil
	}
}

func exists(path string) func() bool {
	return func() bool {
		_, err := os.Stat(path)
		return err == nil
	}
}
