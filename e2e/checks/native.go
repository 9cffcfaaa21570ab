package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// nativeKind is a kind that is no part of Kubernetes, with the module whose CRD describes it.
type nativeKind struct {
	kind, module, crd string
	// misspell breaks an object of the kind.
	misspell func(object)
}

// nativeKinds are the kinds of others that are rendered here. e2e/crds pins the modules.
var nativeKinds = []nativeKind{
	{
		kind:   "CiliumNetworkPolicy",
		module: "github.com/cilium/cilium",
		crd:    "pkg/k8s/apis/cilium.io/client/crds/v2/ciliumnetworkpolicies.yaml",
		misspell: func(o object) {
			o.fields("spec")["egressDenied"] = o.fields("spec")["egressDeny"]
		},
	},
	{
		kind:   "ClusterNetworkPolicy",
		module: "sigs.k8s.io/network-policy-api",
		crd:    "config/crd/standard/policy.networking.k8s.io_clusternetworkpolicies.yaml",
		misspell: func(o object) {
			o.fields("spec", "subject")["pod"] = o.fields("spec", "subject")["pods"]
		},
	},
}

// nativeCRDs reads the CRDs of these kinds from the modules, checked against go.sum.
func nativeCRDs(t *tools) ([]object, error) {
	dir := filepath.Join(t.root, "e2e/crds")
	text, err := execute(nil, dir, "go", "mod", "edit", "-json")
	if err != nil {
		return nil, err
	}
	var pins struct {
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal(text, &pins); err != nil {
		return nil, err
	}
	versions := map[string]string{}
	for _, pin := range pins.Require {
		versions[pin.Path] = pin.Version
	}
	var all []object
	for _, native := range nativeKinds {
		// With its version, so that Go does not load what the module itself requires.
		text, err := execute(nil, dir, "go", "mod", "download", "-json", native.module+"@"+versions[native.module])
		if err != nil {
			return nil, fmt.Errorf("cannot get the schema of %s: %w", native.kind, err)
		}
		var module struct{ Dir string }
		if err := json.Unmarshal(text, &module); err != nil {
			return nil, err
		}
		stream, err := os.ReadFile(filepath.Join(module.Dir, native.crd))
		if err != nil {
			return nil, fmt.Errorf("%s has no such CRD any more: %w", native.module, err)
		}
		objects, err := decode(stream)
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	return all, nil
}

// nativeChecks hold every object of these kinds, whoever renders it, to its project's own schema.
func nativeChecks(t *tools, all subjects) []check {
	var checks []check
	for _, native := range nativeKinds {
		var found []object
		for _, s := range append(slices.Concat(all.charts, all.children), all.floor) {
			for _, o := range s.objects {
				if o.text("kind") == native.kind {
					found = append(found, o)
				}
			}
		}
		judge := func(objects []object) error {
			if len(objects) == 0 {
				return fmt.Errorf("no %s is rendered", native.kind)
			}
			return conform(t, kubernetesVersions[0], subject{native.kind, objects}, all.crds)
		}
		checks = append(checks, check{
			sentence: fmt.Sprintf("the schema of %s accepts all %d that are rendered", native.kind, len(found)),
			run:      func() error { return judge(found) },
			broken:   "a misspelt field",
			control: func() error {
				spoiled, err := broken(found, native.kind, native.misspell)
				if err != nil {
					return nil
				}
				return judge(spoiled)
			},
		})
	}
	return checks
}
