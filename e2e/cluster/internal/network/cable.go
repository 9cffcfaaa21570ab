// Package network connects network namespaces by cables: pairs of virtual Ethernet devices.
package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// inside is the name of a cable's end in the new namespace.
const inside = "eth0"

// Cable is a connection from this process's network namespace (near) to another one (far).
type Cable struct {
	// Name is the near end's interface.
	Name string
	// PID is a process in the far namespace.
	PID int
	// Near and Far are the two ends' addresses, with the length of the network's prefix.
	Near, Far netip.Prefix
	// FarGateway, if valid, is where the far side sends what it has no other route for.
	FarGateway netip.Addr
}

// Plug lays the cable: both ends get their address and are up, and so is the far side's loopback.
func (c Cable) Plug() (err error) {
	far, err := netns.GetFromPid(c.PID)
	if err != nil {
		return fmt.Errorf("find the network of process %d: %w", c.PID, err)
	}
	defer far.Close()
	there, err := netlink.NewHandleAt(far)
	if err != nil {
		return fmt.Errorf("enter the network of process %d: %w", c.PID, err)
	}
	defer there.Close()

	// The kernel takes down an ended namespace in its own time: an earlier cable of this name may still be there.
	if err := Unplug(c.Name); err != nil {
		return err
	}
	attributes := netlink.NewLinkAttrs()
	attributes.Name = c.Name
	pair := &netlink.Veth{LinkAttrs: attributes, PeerName: inside, PeerNamespace: netlink.NsPid(c.PID)}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("make interface %s: %w", c.Name, err)
	}
	defer func() {
		if err != nil {
			_ = Unplug(c.Name)
		}
	}()
	here, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("open this network: %w", err)
	}
	defer here.Close()
	if err := bringUp(there, "lo", netip.Prefix{}); err != nil {
		return err
	}
	if err := bringUp(here, c.Name, c.Near); err != nil {
		return err
	}
	if err := bringUp(there, inside, c.Far); err != nil {
		return err
	}
	// Where a prefix covers one address only, the other end needs a route of its own.
	if c.Far.IsSingleIP() {
		if err := route(here, c.Name, host(c.Far.Addr()), nil); err != nil {
			return err
		}
	}
	if c.Near.IsSingleIP() {
		if err := route(there, inside, host(c.Near.Addr()), nil); err != nil {
			return err
		}
	}
	if c.FarGateway.IsValid() {
		return route(there, inside, nil, c.FarGateway.AsSlice())
	}
	return nil
}

// Unplug removes a cable by its near end, if it is there.
func Unplug(name string) error {
	link, err := netlink.LinkByName(name)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	// It may vanish meanwhile, together with the namespace at its far end.
	if err := netlink.LinkDel(link); err != nil {
		if _, err := netlink.LinkByName(name); errors.As(err, &netlink.LinkNotFoundError{}) {
			return nil
		}
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}

func bringUp(at *netlink.Handle, name string, address netip.Prefix) error {
	link, err := at.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	if address.IsValid() {
		network := &net.IPNet{IP: address.Addr().AsSlice(), Mask: net.CIDRMask(address.Bits(), address.Addr().BitLen())}
		if err := at.AddrAdd(link, &netlink.Addr{IPNet: network}); err != nil {
			return fmt.Errorf("give interface %s the address %s: %w", name, address, err)
		}
	}
	if err := at.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring up interface %s: %w", name, err)
	}
	return nil
}

func route(at *netlink.Handle, name string, to *net.IPNet, via net.IP) error {
	link, err := at.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: to, Gw: via}
	if via == nil {
		r.Scope = netlink.SCOPE_LINK
	}
	if err := at.RouteAdd(r); err != nil {
		return fmt.Errorf("route %v over interface %s: %w", to, name, err)
	}
	return nil
}

func host(address netip.Addr) *net.IPNet {
	return &net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(address.BitLen(), address.BitLen())}
}

// RouteInside sends packets for a network out of this namespace's own end of a cable. A node without a default route
// needs one for Services: the kernel looks for a route before kube-proxy's rules replace the Service's address.
func RouteInside(to netip.Prefix) error {
	here, err := netlink.NewHandle()
	if err != nil {
		return fmt.Errorf("open this network: %w", err)
	}
	defer here.Close()
	destination := &net.IPNet{IP: to.Addr().AsSlice(), Mask: net.CIDRMask(to.Bits(), to.Addr().BitLen())}
	return route(here, inside, destination, nil)
}
