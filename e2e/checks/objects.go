package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"sigs.k8s.io/yaml"
)

// object is one Kubernetes object, as decoded from YAML.
type object map[string]any

func (o object) text(path ...string) string {
	var at any = map[string]any(o)
	for _, key := range path {
		fields, _ := at.(map[string]any)
		at = fields[key]
	}
	text, _ := at.(string)
	return text
}

// id names the object as people do: kind, namespace, name.
func (o object) id() string {
	id := o.text("kind") + "/"
	if namespace := o.text("metadata", "namespace"); namespace != "" {
		id += namespace + "/"
	}
	return id + o.text("metadata", "name")
}

// fields returns the nested map at a path, or an empty one.
func (o object) fields(path ...string) map[string]any {
	at := map[string]any(o)
	for _, key := range path {
		next, ok := at[key].(map[string]any)
		if !ok {
			return map[string]any{}
		}
		at = next
	}
	return at
}

// decode reads a stream of YAML documents; empty ones are left out.
func decode(stream []byte) ([]object, error) {
	var objects []object
	for _, document := range bytes.Split(append([]byte("\n"), stream...), []byte("\n---")) {
		var o object
		if err := yaml.Unmarshal(document, &o); err != nil {
			return nil, fmt.Errorf("not a YAML object: %w\n%s", err, document)
		}
		if len(o) > 0 {
			objects = append(objects, o)
		}
	}
	return objects, nil
}

// encode writes a stream of YAML documents.
func encode(objects []object) ([]byte, error) {
	var stream bytes.Buffer
	for _, o := range objects {
		document, err := yaml.Marshal(o)
		if err != nil {
			return nil, fmt.Errorf("cannot encode %s: %w", o.id(), err)
		}
		stream.WriteString("---\n")
		stream.Write(document)
	}
	return stream.Bytes(), nil
}

// clone copies an object deeply, so that a control can break it.
func clone(o object) (object, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	var copied object
	return copied, json.Unmarshal(text, &copied)
}

// broken returns a copy of the objects in which `spoil` changed those of the kind; it fails when there is none.
func broken(objects []object, kind string, spoil func(object)) ([]object, error) {
	var spoiled []object
	found := false
	for _, o := range objects {
		copied, err := clone(o)
		if err != nil {
			return nil, err
		}
		if copied.text("kind") == kind {
			spoil(copied)
			found = true
		}
		spoiled = append(spoiled, copied)
	}
	if !found {
		return nil, fmt.Errorf("no %s to break", kind)
	}
	return spoiled, nil
}
