package images

import (
	"errors"
	"strings"
	"testing"
)

func TestABadDefinitionIsRefusedWithWhatToWrite(t *testing.T) {
	cases := map[string]struct{ yaml, want string }{
		"no base":               {"description: d", "write `base: scratch`"},
		"no description":        {"base: scratch", "description is missing"},
		"a misspelt field":      {"description: d\nbase: scratch\nentrypiont: [x]", "entrypiont"},
		"a user by name":        {"description: d\nbase: scratch\nuser: nobody", "uid:gid in numbers"},
		"a relative path":       {"description: d\nbase: scratch\ndirectories: {tmp: \"0755\"}", "write an absolute path"},
		"a mode in decimal":     {"description: d\nbase: scratch\ndirectories: {/tmp: \"999\"}", "in octal"},
		"a file that is absent": {"description: d\nbase: scratch\nfiles: {nothing: /x}", "nothing is named but not there"},
		"an npm lock absent":    {"description: d\nbase: scratch\nnpm: {}", "package.json is named but not there"},
		"an unknown base":       {"description: d\nbase: elsewhere", `there is no image "elsewhere"`},
		"itself as a base":      {"description: d\nbase: bad", "its own base"},
	}
	for what, c := range cases {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{"bad/image.yaml": c.yaml})
			_, err := LoadCatalog(dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
		})
	}
}

func TestAnUnknownImageIsAnsweredWithTheKnownOnes(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"only/image.yaml": "description: d\nbase: scratch"})
	catalog, err := LoadCatalog(dir)
	check(t, err)
	_, err = catalog.Get("other")
	var unknown *UnknownImageError
	if !errors.As(err, &unknown) || !strings.Contains(err.Error(), "only") {
		t.Errorf("got %v", err)
	}
}

func TestEveryDefinitionOfTheRepositoryIsValid(t *testing.T) {
	if _, err := LoadCatalog("../../../images"); err != nil {
		t.Error(err)
	}
}

func TestBasesAreNoProgramsOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, twoImages)
	catalog, err := LoadCatalog(dir)
	check(t, err)
	if got := strings.Join(catalog.Programs(), " "); got != "upper" {
		t.Errorf("got %q", got)
	}
}
