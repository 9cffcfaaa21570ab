package outside

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// NamesFile is the hosts file from which the cluster's CoreDNS serves cluster.OutsideDomain, in the node's file system.
const NamesFile = "/var/lib/sallyport/names/hosts"

// WriteNames makes the cluster's CoreDNS know exactly these hosts.
func WriteNames(path string, hosts []Host) error {
	var lines strings.Builder
	for _, h := range hosts {
		fmt.Fprintf(&lines, "%s %s\n", h.IP, h.Domain())
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make the folder of the outside world's names: %w", err)
	}
	// Renamed into place, so that CoreDNS never reads half of it.
	if err := os.WriteFile(path+".new", []byte(lines.String()), 0o644); err != nil {
		return fmt.Errorf("write the outside world's names: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("replace the outside world's names: %w", err)
	}
	return nil
}
