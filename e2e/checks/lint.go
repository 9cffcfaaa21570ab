package main

import (
	"errors"
	"fmt"
	"strings"
)

func lintCheck(t *tools) check {
	lint := func(extra ...string) error {
		_, err := t.run(nil, "helm", append(append([]string{"lint", "--strict", chart}, imageValues()...), extra...)...)
		return err
	}
	return check{
		sentence: "helm lint --strict accepts the chart",
		run:      func() error { return lint() },
		broken:   "an unknown value",
		control:  func() error { return lint("--set", "operator.replica=3") },
	}
}

// refusedValues are values that the chart refuses, each with what the message says.
var refusedValues = []struct{ set, says string }{
	{"image.repository=", "image.repository is missing"},
	{"image.digest=", "image.digest is missing"},
	{"sidecar.image.digest=", "sidecar.image.digest is missing"},
	{"sidecar.image.tag=v1", "tag"},
	{"egress.image.digest=", "egress.image.digest is missing"},
	{"image.digest=latest", "/image/digest"},
	{"image.repository=registry.example/operator@sha256:1", "/image/repository"},
	{"image.pullPolicy=Sometimes", "/image/pullPolicy"},
	{"operator.replicas=0", "/operator/replicas"},
	{"operator.nodeFeatures=on", "/operator/nodeFeatures"},
	{"operator.log.format=xml", "/operator/log/format"},
	{"operator.resources.limits.cpu=much", "/operator/resources/limits/cpu"},
	{"operator.securityContext.privileged=true", "securityContext"},
	{"watchNamespaces={Team_A}", "/watchNamespaces/0"},
	{"networkPolicy.apiServer.ports={70000}", "/networkPolicy/apiServer/ports/0"},
	{"networkPolicy.apiServer.cidrs={everywhere}", "/networkPolicy/apiServer/cidrs/0"},
	{"egress.clusterNetworks.nodes={203.0.113.7}", "/egress/clusterNetworks/nodes/0"},
	{"watchNamespace=team-a", "watchNamespace"},
	{"nativePolicies.cilium=Always", "/nativePolicies/cilium"},
	{"nativePolicies.clusterNetworkPolicy=Off", "/nativePolicies/clusterNetworkPolicy"},
}

func refusedValuesCheck(t *tools) check {
	refused := func(set, says string) error {
		args := append([]string{"template", "sallyport", chart}, imageValues()...)
		_, err := t.run(nil, "helm", append(args, "--set", set)...)
		switch {
		case err == nil:
			return fmt.Errorf("--set %s is accepted", set)
		case !strings.Contains(err.Error(), says):
			return fmt.Errorf("--set %s is refused without a word of %q: %w", set, says, err)
		}
		return nil
	}
	return check{
		sentence: fmt.Sprintf("the chart refuses %d bad values with a message that names them", len(refusedValues)),
		run: func() error {
			var all []error
			for _, value := range refusedValues {
				all = append(all, refused(value.set, value.says))
			}
			return errors.Join(all...)
		},
		broken:  "a good value",
		control: func() error { return refused("operator.replicas=3", "/operator/replicas") },
	}
}
