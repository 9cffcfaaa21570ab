package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	namespace = "sallyport-system"
	chart     = "charts/sallyport"
)

// subject is a set of objects that belong together.
type subject struct {
	name    string
	objects []object
}

// subjects are all manifests that are judged.
type subjects struct {
	// charts are renderings of the chart, the first with nothing but the images set.
	charts []subject
	// base is the kustomize base with the same images.
	base subject
	// floor is the optional kustomization of ClusterNetworkPolicies.
	floor subject
	// children are what the operator renders for endpoints.
	children []subject
	// samples are the McpEndpoints that users are shown.
	samples subject
	// crds are the CustomResourceDefinitions, ours and those of others whose kinds are rendered.
	crds subject
}

func gather(t *tools) (subjects, error) {
	var all subjects
	values, err := filepath.Glob(filepath.Join(t.root, "e2e/checks/values/*.yaml"))
	if err != nil {
		return all, err
	}
	for _, file := range append([]string{""}, values...) {
		s, err := renderChart(t, file)
		if err != nil {
			return all, err
		}
		all.charts = append(all.charts, s)
	}
	stream, err := t.run(nil, "kustomize", "build", "config/overlays/example")
	if err != nil {
		return all, err
	}
	if all.base, err = newSubject("config/overlays/example", stream); err != nil {
		return all, err
	}
	if stream, err = t.run(nil, "kustomize", "build", "config/clusternetworkpolicy"); err != nil {
		return all, err
	}
	if all.floor, err = newSubject("config/clusternetworkpolicy", stream); err != nil {
		return all, err
	}
	if all.crds, err = readFiles(t, "crds", "crds/*.sallyport.dev.yaml", "crds/mcp*.yaml"); err != nil {
		return all, err
	}
	native, err := nativeCRDs(t)
	if err != nil {
		return all, err
	}
	all.crds.objects = append(all.crds.objects, native...)
	if all.samples, err = readFiles(t, "config/samples", "config/samples/*.yaml"); err != nil {
		return all, err
	}
	all.children, err = gatherChildren(t)
	return all, err
}

// gatherChildren takes what `kubectl mcpe render` prints for each sample, and the golden files of every feature.
func gatherChildren(t *tools) ([]subject, error) {
	var children []subject
	samples, err := filepath.Glob(filepath.Join(t.root, "config/samples/*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, file := range samples {
		if filepath.Base(file) == "kustomization.yaml" {
			continue
		}
		stream, err := t.render(file)
		if err != nil {
			return nil, err
		}
		s, err := newSubject("kubectl mcpe render -f "+relative(t, file), stream)
		if err != nil {
			return nil, err
		}
		children = append(children, s)
	}
	golden, err := filepath.Glob(filepath.Join(t.root, "operator/render/tests/golden/*.yaml"))
	if err != nil {
		return nil, err
	}
	for _, file := range golden {
		stream, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		s, err := newSubject(relative(t, file), stream)
		if err != nil {
			return nil, err
		}
		children = append(children, s)
	}
	if len(samples) == 0 || len(golden) == 0 {
		return nil, fmt.Errorf("no samples or no golden files: run `cargo gen write` and the tests of operator/render")
	}
	return children, nil
}

// renderChart renders the chart with the images of the kustomize example and, if given, a file of values.
func renderChart(t *tools, values string) (subject, error) {
	args := append([]string{"template", "sallyport", chart, "--namespace", namespace}, imageValues()...)
	name := "chart with its default values"
	if values != "" {
		args = append(args, "--values", values)
		name = "chart with " + relative(t, values)
	}
	stream, err := t.run(nil, "helm", args...)
	if err != nil {
		return subject{}, err
	}
	return newSubject(name, stream)
}

// imageValues sets the images that config/overlays/example sets.
func imageValues() []string {
	digest := "sha256:" + strings.Repeat("0", 64)
	return []string{
		"--set", "image.repository=registry.example/sallyport/operator",
		"--set", "image.digest=" + digest,
		"--set", "sidecar.image.repository=registry.example/sallyport/sidecar",
		"--set", "sidecar.image.digest=" + digest,
		"--set", "egress.image.repository=registry.example/sallyport/egress",
		"--set", "egress.image.digest=" + digest,
	}
}

func newSubject(name string, stream []byte) (subject, error) {
	objects, err := decode(stream)
	if err != nil {
		return subject{}, fmt.Errorf("%s: %w", name, err)
	}
	if len(objects) == 0 {
		return subject{}, fmt.Errorf("%s holds no objects", name)
	}
	return subject{name, objects}, nil
}

// readFiles reads all objects of the files that match, kustomizations left out.
func readFiles(t *tools, name string, patterns ...string) (subject, error) {
	var stream []byte
	for _, pattern := range patterns {
		files, err := filepath.Glob(filepath.Join(t.root, pattern))
		if err != nil {
			return subject{}, err
		}
		for _, file := range files {
			if filepath.Base(file) == "kustomization.yaml" {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return subject{}, err
			}
			stream = append(append(stream, "\n---\n"...), text...)
		}
	}
	return newSubject(name, stream)
}

func relative(t *tools, file string) string {
	if path, err := filepath.Rel(t.root, file); err == nil {
		return path
	}
	return file
}
