package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sallyport.dev/e2e/cluster/internal/cluster"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchies lists the cgroup hierarchies: the one of version 2, or those of version 1, one for each controller.
func hierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{cgroupRoot}, nil
	}
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil, fmt.Errorf("list cgroup hierarchies: %w", err)
	}
	var all []string
	for _, e := range entries {
		// Links are second names of a hierarchy, such as "cpu" for "cpu,cpuacct".
		if e.IsDir() {
			all = append(all, filepath.Join(cgroupRoot, e.Name()))
		}
	}
	return all, nil
}

// makeCgroups makes the folders below which the kubelet puts its own.
func makeCgroups(s cluster.Spec) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range all {
		if err := os.MkdirAll(filepath.Join(hierarchy, s.CgroupName()), 0o755); err != nil {
			return fmt.Errorf("make a cgroup: %w", err)
		}
		if hierarchy == cgroupRoot {
			// Where the machine has handed them on already, this changes nothing; where it may not, the kubelet says so.
			for _, controller := range []string{"cpu", "cpuset", "memory", "pids", "io"} {
				_ = os.WriteFile(filepath.Join(hierarchy, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
			}
		}
	}
	return nil
}

// RemoveCgroups removes what the cluster left in the cgroup hierarchies. Its processes must have ended.
func RemoveCgroups(s cluster.Spec) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, hierarchy := range all {
		if err := removeCgroup(filepath.Join(hierarchy, s.CgroupName())); err != nil {
			return err
		}
	}
	return nil
}

// removeCgroup removes a folder and those below it. The kernel refuses for a moment after the last process has ended.
func removeCgroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list cgroup %s: %w", dir, err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroup(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return fmt.Errorf("remove cgroup %s: %w", dir, err)
		}
	}
}
