package main

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// The schemas of Kubernetes come from a Python package, pinned by digest, as JSON that refers to one file of shared
// definitions; kubeconform wants each schema in one piece.
const (
	wheelRequirement = "kubernetes-validate==1.37.0 --hash=sha256:85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9"
	wheelName        = "kubernetes_validate-1.37.0-py3-none-any.whl"
	wheelSchemas     = "kubernetes_validate/kubernetes-json-schema"
	sharedPrefix     = "/api/_definitions.json#/$defs/"
	localPrefix      = "#/$defs/"
)

// schemas returns a directory that holds a schema for each object's kind.
func schemas(version string, objects, crds []object) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "schemas", strings.TrimSuffix(wheelName, ".whl"), version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make the schema cache writable: %w", err)
	}
	for _, crd := range crds {
		if err := writeCustomSchemas(dir, crd); err != nil {
			return "", err
		}
	}
	for _, o := range objects {
		file := schemaFile(o.text("apiVersion"), o.text("kind"))
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			continue
		}
		if err := writeBuiltInSchema(cache, dir, version, file); err != nil {
			return "", fmt.Errorf("%s: %w", o.id(), err)
		}
	}
	return dir, nil
}

// schemaFile is kubeconform's {{.ResourceKind}}{{.KindSuffix}}.json: the kind, the first label of the group, the version.
func schemaFile(apiVersion, kind string) string {
	group, version, grouped := strings.Cut(apiVersion, "/")
	if !grouped {
		return strings.ToLower(kind + "-" + group + ".json")
	}
	first, _, _ := strings.Cut(group, ".")
	return strings.ToLower(kind + "-" + first + "-" + version + ".json")
}

// writeBuiltInSchema joins a schema with the definitions that it reaches.
func writeBuiltInSchema(cache, dir, version, file string) error {
	wheel, err := openWheel(cache)
	if err != nil {
		return err
	}
	defer wheel.Close()
	folder := path.Join(wheelSchemas, "v"+version+"-local-strict")
	var schema, shared map[string]any
	if err := readJSON(wheel, path.Join(folder, file), &schema); err != nil {
		return fmt.Errorf("Kubernetes %s has no such kind: %w", version, err)
	}
	if err := readJSON(wheel, path.Join(folder, "_definitions.json"), &shared); err != nil {
		return err
	}
	all, _ := shared["$defs"].(map[string]any)
	reached := map[string]any{}
	collect(schema, all, reached)
	schema["$defs"] = reached
	// The references are local now, and an identity of its own would move their base.
	delete(schema, "$id")
	return writeJSON(filepath.Join(dir, file), schema)
}

// collect rewrites every reference below a schema node to a local one and gathers what they name.
func collect(node any, all, reached map[string]any) {
	switch node := node.(type) {
	case map[string]any:
		if reference, ok := node["$ref"].(string); ok {
			name := strings.TrimPrefix(strings.TrimPrefix(reference, sharedPrefix), localPrefix)
			node["$ref"] = localPrefix + name
			if _, done := reached[name]; !done {
				reached[name] = all[name]
				collect(all[name], all, reached)
			}
		}
		for _, child := range node {
			collect(child, all, reached)
		}
	case []any:
		for _, child := range node {
			collect(child, all, reached)
		}
	}
}

// writeCustomSchemas writes one schema for each version of a CRD, closed to unknown fields as the API server is with
// strict field validation.
func writeCustomSchemas(dir string, crd object) error {
	spec := crd.fields("spec")
	versions, _ := spec["versions"].([]any)
	for _, version := range versions {
		version, _ := version.(map[string]any)
		copied, err := clone(object(version))
		if err != nil {
			return err
		}
		schema := copied.fields("schema", "openAPIV3Schema")
		if len(schema) == 0 {
			return fmt.Errorf("%s has no schema", crd.id())
		}
		properties, _ := schema["properties"].(map[string]any)
		closeObjects(schema)
		properties["apiVersion"] = map[string]any{"type": "string"}
		properties["kind"] = map[string]any{"type": "string"}
		properties["metadata"] = map[string]any{"type": "object"}
		apiVersion := fmt.Sprintf("%s/%s", spec["group"], version["name"])
		file := schemaFile(apiVersion, object(spec).text("names", "kind"))
		if err := writeJSON(filepath.Join(dir, file), schema); err != nil {
			return err
		}
	}
	return nil
}

func closeObjects(node any) {
	switch node := node.(type) {
	case map[string]any:
		_, hasProperties := node["properties"].(map[string]any)
		_, isOpen := node["additionalProperties"]
		if hasProperties && !isOpen {
			node["additionalProperties"] = false
		}
		for key, child := range node {
			// A structural schema repeats there what it has said outside, and not all of it.
			if !slices.Contains([]string{"allOf", "anyOf", "oneOf", "not"}, key) {
				closeObjects(child)
			}
		}
	case []any:
		for _, child := range node {
			closeObjects(child)
		}
	}
}

// openWheel downloads the package once, checked by its digest.
func openWheel(cache string) (*zip.ReadCloser, error) {
	dir := filepath.Join(cache, "schemas")
	file := filepath.Join(dir, wheelName)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		requirements := filepath.Join(dir, "requirements.txt")
		if err := os.WriteFile(requirements, []byte(wheelRequirement+"\n"), 0o644); err != nil {
			return nil, err
		}
		if _, err := execute(nil, dir, "python3", "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest", dir, "--requirement", requirements); err != nil {
			return nil, fmt.Errorf("cannot get the schemas of Kubernetes, is python3-pip installed (`make deps`)? %w", err)
		}
	}
	wheel, err := zip.OpenReader(file)
	if err != nil {
		return nil, fmt.Errorf("remove %s and run again: %w", file, err)
	}
	return wheel, nil
}

func readJSON(files fs.FS, name string, into any) error {
	file, err := files.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	text, err := io.ReadAll(file)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// writeJSON replaces a file in one step, so that a run that was cut off leaves no half of it.
func writeJSON(file string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	next := file + ".next"
	if err := os.WriteFile(next, text, 0o644); err != nil {
		return err
	}
	return os.Rename(next, file)
}
