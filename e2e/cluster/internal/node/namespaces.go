package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sallyport.dev/e2e/cluster/internal/cluster"
)

// Namespaces are the kinds of namespace that a node has to itself.
const Namespaces = unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC

// furnish makes this process's new namespaces fit for a node. Nothing that is done here is visible outside of them,
// but for the cluster's cgroup folders.
func furnish(s cluster.Spec) error {
	if err := unix.Sethostname([]byte(cluster.NodeName)); err != nil {
		return fmt.Errorf("name the node: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep the node's mounts to itself: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc for the node's processes: %w", err)
	}
	if err := mountSys(); err != nil {
		return err
	}
	if err := hideFolders(s); err != nil {
		return err
	}
	if err := maskTunables(); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}

// tunables are the settings of the whole machine's kernel that the kubelet insists on (setupKernelTunables in its
// container manager), with the values that it wants to see.
var tunables = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// maskTunables shows the kubelet files that hold these values already, so that it leaves the machine's kernel alone.
func maskTunables() error {
	const masks, pristine = "/run/sallyport/tunables", "/run/sallyport/proc"
	// A user namespace may mount proc only where a proc without anything on top of it is in sight (mount_namespaces(7)):
	// without this one, no pod with hostUsers: false would start.
	if err := os.MkdirAll(pristine, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", pristine, err)
	}
	if err := unix.Mount("proc", pristine, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount %s: %w", pristine, err)
	}
	for name, value := range tunables {
		mask := filepath.Join(masks, name)
		if err := os.MkdirAll(filepath.Dir(mask), 0o755); err != nil {
			return fmt.Errorf("make the folder of %s: %w", mask, err)
		}
		if err := os.WriteFile(mask, []byte(value+"\n"), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", mask, err)
		}
		if err := unix.Mount(mask, filepath.Join("/proc/sys", name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("hide the machine's %s from the kubelet: %w", name, err)
		}
	}
	return nil
}

// mountSys replaces /sys by one that shows the node's own network, and keeps the cgroup hierarchies in it.
func mountSys() error {
	const cgroups = "/sys/fs/cgroup"
	keep, err := unix.OpenTree(unix.AT_FDCWD, cgroups, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("keep %s: %w", cgroups, err)
	}
	defer unix.Close(keep)
	if err := unix.Unmount("/sys", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount /sys: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /sys for the node's network: %w", err)
	}
	if err := unix.MoveMount(keep, "", unix.AT_FDCWD, cgroups, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("put %s back: %w", cgroups, err)
	}
	// Optional: runc uses it for device rules where cgroups are of version 2.
	_ = unix.Mount("bpf", "/sys/fs/bpf", "bpf", 0, "")
	return nil
}

// hideFolders gives the node its own /run, /var/lib and /var/log, where the components put their sockets, data and logs.
func hideFolders(s cluster.Spec) error {
	// The cluster's own folder and the programs may lie below a folder that is about to be hidden.
	cache := cluster.CacheDir()
	keep, err := unix.OpenTree(unix.AT_FDCWD, cache, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("keep %s: %w", cache, err)
	}
	defer unix.Close(keep)
	if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount /run: %w", err)
	}
	for _, dir := range []string{"/run/netns", "/run/lock"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
	}
	for _, dir := range []string{"/var/lib", "/var/log"} {
		own := filepath.Join(cluster.StateDir(s.Name), dir)
		if err := os.MkdirAll(own, 0o755); err != nil {
			return fmt.Errorf("make the node's %s: %w", dir, err)
		}
		if err := unix.Mount(own, dir, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount the node's %s: %w", dir, err)
		}
	}
	for _, hidden := range []string{"/run/", "/var/lib/", "/var/log/"} {
		if !strings.HasPrefix(cache+"/", hidden) {
			continue
		}
		if err := os.MkdirAll(cache, 0o755); err != nil {
			return fmt.Errorf("make room for %s: %w", cache, err)
		}
		if err := unix.MoveMount(keep, "", unix.AT_FDCWD, cache, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("put %s back: %w", cache, err)
		}
	}
	return nil
}
