package policy

import (
	"errors"
	"fmt"
	"net/netip"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"sallyport.dev/e2e/cluster/policy-agent/internal/ruleset"
)

// peers compiles the `to` or `from` list of a rule. An empty list is everyone; a list that selects nobody is nobody.
// Pods of all selectors together become one list of addresses.
func (w world) peers(namespace string, specified []networkingv1.NetworkPolicyPeer) ([]ruleset.Peer, error) {
	if len(specified) == 0 {
		return []ruleset.Peer{ruleset.AnyPeer{}}, nil
	}
	var peers []ruleset.Peer
	var problems []error
	selected := make([]bool, len(w.pods))
	for i, peer := range specified {
		var err error
		if peer.IPBlock != nil {
			var block ruleset.Block
			if block, err = blockOf(*peer.IPBlock); err == nil {
				peers = append(peers, block)
			}
		} else {
			err = w.selectPods(namespace, peer, selected)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("peer %d: %w", i, err))
		}
	}
	var addrs ruleset.Addrs
	for i, is := range selected {
		if is {
			addrs = append(addrs, w.pods[i].addrs...)
		}
	}
	if len(addrs) > 0 {
		peers = append(peers, addrs)
	}
	return peers, errors.Join(problems...)
}

// selectPods marks the pods that a peer selects. Without a namespaceSelector these are pods of the policy's namespace;
// without a podSelector they are all pods of the selected namespaces.
func (w world) selectPods(namespace string, peer networkingv1.NetworkPolicyPeer, selected []bool) error {
	if peer.NamespaceSelector == nil && peer.PodSelector == nil {
		return errors.New("names none of podSelector, namespaceSelector and ipBlock")
	}
	inNamespace := func(candidate string) bool { return candidate == namespace }
	if peer.NamespaceSelector != nil {
		selector, err := metav1.LabelSelectorAsSelector(peer.NamespaceSelector)
		if err != nil {
			return fmt.Errorf("namespaceSelector: %w", err)
		}
		inNamespace = func(candidate string) bool {
			set, exists := w.namespaces[candidate]
			return exists && selector.Matches(set)
		}
	}
	pods := labels.Everything()
	if peer.PodSelector != nil {
		selector, err := metav1.LabelSelectorAsSelector(peer.PodSelector)
		if err != nil {
			return fmt.Errorf("podSelector: %w", err)
		}
		pods = selector
	}
	for i, p := range w.pods {
		if inNamespace(p.namespace) && pods.Matches(p.labels) {
			selected[i] = true
		}
	}
	return nil
}

func blockOf(specified networkingv1.IPBlock) (ruleset.Block, error) {
	cidr, err := netip.ParsePrefix(specified.CIDR)
	if err != nil {
		return ruleset.Block{}, fmt.Errorf("ipBlock.cidr: %w", err)
	}
	block := ruleset.Block{CIDR: cidr.Masked()}
	for _, text := range specified.Except {
		except, err := netip.ParsePrefix(text)
		if err != nil {
			return ruleset.Block{}, fmt.Errorf("ipBlock.except: %w", err)
		}
		block.Except = append(block.Except, except.Masked())
	}
	return block, nil
}
