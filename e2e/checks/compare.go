package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// compareCheck holds the kustomize base to what the chart installs with its default values.
func compareCheck(all subjects) check {
	chart := all.charts[0]
	return check{
		sentence: "kustomize builds the chart's objects, field by field",
		run:      func() error { return compare(chart.objects, all.base.objects) },
		broken:   "one argument changed",
		control: func() error {
			spoiled, err := broken(all.base.objects, "Deployment", func(o object) {
				container := o.fields("spec", "template", "spec")["containers"].([]any)[0].(map[string]any)
				container["args"].([]any)[1] = "--changed"
			})
			if err != nil {
				return nil
			}
			return compare(chart.objects, spoiled)
		},
	}
}

// compare lists the fields in which two sets of objects differ. Helm's own labels and annotations do not count, nor
// does the Namespace, which Helm creates by a flag.
func compare(helm, kustomize []object) error {
	left, right := byID(helm), byID(kustomize)
	delete(right, "Namespace/"+namespace)
	ids := make([]string, 0, len(left)+len(right))
	for id := range left {
		ids = append(ids, id)
	}
	for id := range right {
		if _, both := left[id]; !both {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	var all []error
	for _, id := range ids {
		switch {
		case right[id] == nil:
			all = append(all, fmt.Errorf("%s: only in the chart", id))
		case left[id] == nil:
			all = append(all, fmt.Errorf("%s: only in config/base", id))
		default:
			for _, difference := range differences("", left[id], right[id]) {
				all = append(all, fmt.Errorf("%s%s", id, difference))
			}
		}
	}
	return errors.Join(all...)
}

func byID(objects []object) map[string]map[string]any {
	index := map[string]map[string]any{}
	for _, o := range objects {
		copied, err := clone(o)
		if err != nil {
			continue
		}
		delete(copied.fields("metadata", "labels"), "helm.sh/chart")
		delete(copied.fields("metadata", "labels"), "app.kubernetes.io/managed-by")
		annotations := copied.fields("metadata", "annotations")
		delete(annotations, "helm.sh/resource-policy")
		if len(annotations) == 0 {
			delete(copied.fields("metadata"), "annotations")
		}
		index[o.id()] = copied
	}
	return index
}

// differences lists the paths at which two decoded values differ, with both values.
func differences(path string, left, right any) []string {
	leftMap, leftIsMap := left.(map[string]any)
	rightMap, rightIsMap := right.(map[string]any)
	if leftIsMap && rightIsMap {
		var all []string
		for key := range leftMap {
			all = append(all, differences(path+"."+key, leftMap[key], rightMap[key])...)
		}
		for key := range rightMap {
			if _, both := leftMap[key]; !both {
				all = append(all, differences(path+"."+key, nil, rightMap[key])...)
			}
		}
		slices.Sort(all)
		return all
	}
	leftList, leftIsList := left.([]any)
	rightList, rightIsList := right.([]any)
	if leftIsList && rightIsList && len(leftList) == len(rightList) {
		var all []string
		for i := range leftList {
			all = append(all, differences(fmt.Sprintf("%s[%d]", path, i), leftList[i], rightList[i])...)
		}
		return all
	}
	leftText, rightText := short(left), short(right)
	if leftText == rightText {
		return nil
	}
	return []string{fmt.Sprintf("%s: the chart has %s, config/base has %s", path, leftText, rightText)}
}

func short(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}
