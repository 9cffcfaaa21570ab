// Package outside is the world outside of a cluster: test hosts with names and addresses of their own, which accept
// what pods send them and write it down.
package outside

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"sallyport.dev/e2e/cluster/internal/cluster"
)

// Host is one test host.
type Host struct {
	// Name is the host's name below cluster.OutsideDomain.
	Name string `json:"name"`
	// IP is its address, in cluster.OutsideCIDR.
	IP netip.Addr `json:"ip"`
	// TCP and UDP are the ports on which it accepts everything.
	TCP []uint16 `json:"tcp,omitempty"`
	UDP []uint16 `json:"udp,omitempty"`
	// JSON is the document with which it answers every HTTP request. Empty: it answers with its greeting.
	JSON string `json:"json,omitempty"`
}

// The outside world's first addresses are taken: .1 is the cluster's router, as its hosts see it.
var (
	network = netip.MustParsePrefix(cluster.OutsideCIDR)
	// Router is the node's address towards every host.
	Router    = netip.MustParseAddr("192.52.193.1")
	firstHost = netip.MustParseAddr("192.52.193.10")
	lastHost  = netip.MustParseAddr("192.52.193.253")
	// Metadata is where clouds answer their machines' questions; a host there shows whether pods could ask them.
	Metadata = netip.MustParseAddr("169.254.169.254")
)

var namePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?$`)

// Domain is the host's full name.
func (h Host) Domain() string { return h.Name + "." + cluster.OutsideDomain }

// Place checks a new host against those that are there, and gives it a free address if it names none.
func Place(h Host, others []Host) (Host, error) {
	if !namePattern.MatchString(h.Name) {
		return Host{}, fmt.Errorf("host name %q: use lower-case letters, digits and dashes", h.Name)
	}
	if len(h.TCP)+len(h.UDP) == 0 {
		return Host{}, errors.New("the host would have no open port: name some with --tcp or --udp")
	}
	if h.JSON != "" && !json.Valid([]byte(h.JSON)) {
		return Host{}, fmt.Errorf("the host would answer %q, which is no JSON", h.JSON)
	}
	if slices.Contains(h.TCP, 0) || slices.Contains(h.UDP, 0) {
		return Host{}, errors.New("0 is not a port that can be reached: use 1 to 65535")
	}
	taken := map[netip.Addr]string{Router: "the router"}
	for _, other := range others {
		if other.Name == h.Name {
			return Host{}, fmt.Errorf("host %q is there already; remove it with: host rm %s", h.Name, h.Name)
		}
		taken[other.IP] = "host " + other.Name
	}
	if h.IP.IsValid() {
		if !network.Contains(h.IP) && h.IP != Metadata {
			return Host{}, fmt.Errorf("address %s is not outside: use one in %s, or %s", h.IP, network, Metadata)
		}
		if owner, ok := taken[h.IP]; ok {
			return Host{}, fmt.Errorf("address %s belongs to %s: use another, or none to get a free one", h.IP, owner)
		}
		return h, nil
	}
	for ip := firstHost; ip.Compare(lastHost) <= 0; ip = ip.Next() {
		if _, ok := taken[ip]; !ok {
			h.IP = ip
			return h, nil
		}
	}
	return Host{}, fmt.Errorf("no free address in %s: remove a host", network)
}
