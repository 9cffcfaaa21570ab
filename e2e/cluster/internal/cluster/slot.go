package cluster

import (
	"errors"
	"fmt"
	"net"
	"slices"
)

// maxSlots is how many clusters can stand side by side: one for each network 172.30.N.0/24.
const maxSlots = 250

// FreeSlot picks the lowest slot that neither another cluster nor a network interface of this machine uses. Call it and
// save the Spec under LockSlots.
func FreeSlot() (int, error) {
	names, err := Names()
	if err != nil {
		return 0, err
	}
	var used []int
	for _, name := range names {
		if s, err := Load(name); err == nil && s.Kind == Node {
			used = append(used, s.Slot)
		} else if err != nil && !errors.Is(err, ErrNoCluster) {
			return 0, err
		}
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return 0, fmt.Errorf("list the addresses of this machine: %w", err)
	}
	return lowestFree(append(used, slotsOf(addresses)...))
}

// LockSlots lets one process at a time pick a slot.
func LockSlots() (unlock func(), err error) { return Lock(ClustersDir() + "/.slots.lock") }

func lowestFree(used []int) (int, error) {
	for slot := range maxSlots {
		if !slices.Contains(used, slot) {
			return slot, nil
		}
	}
	return 0, fmt.Errorf("all %d networks for clusters are in use; remove clusters with: sallyport-cluster down", maxSlots)
}

// slotsOf finds the slots whose network holds one of the addresses: another user's clusters, say.
func slotsOf(addresses []net.Addr) []int {
	var slots []int
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok {
			if ip := network.IP.To4(); ip != nil && ip[0] == 172 && ip[1] == 30 {
				slots = append(slots, int(ip[2]))
			}
		}
	}
	return slots
}
