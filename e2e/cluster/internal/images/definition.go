package images

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// scratch is the base of an image that starts empty.
const scratch = "scratch"

// Definition is what `e2e/images/<name>/image.yaml` says. Each source that is set becomes one layer, in the order of
// the fields here.
type Definition struct {
	// Name is the folder's name; it is the image's name in a registry.
	Name string `yaml:"-"`
	// Dir is the folder of the definition; the relative paths below start there.
	Dir string `yaml:"-"`

	// Description says in one sentence what the image is for. It becomes an OCI annotation.
	Description string `yaml:"description"`
	// Base is `scratch` or the name of another image here, whose layers, environment and user are inherited.
	Base string `yaml:"base"`
	// Tag is the tag under which the image is pushed besides its digest. Default: latest.
	Tag string `yaml:"tag"`

	// Debian names the packages to unpack, with every dependency that is needed: none is added by itself.
	Debian []string `yaml:"debian"`
	// Npm installs the folder's package-lock.json.
	Npm *Npm `yaml:"npm"`
	// Pip unpacks the wheels of the folder's requirements.txt.
	Pip *Pip `yaml:"pip"`
	// GoBinary copies a program that is built from a Go module.
	GoBinary *GoBinary `yaml:"goBinary"`
	// CargoBinaries copies programs of this repository's Cargo workspace, linked statically.
	CargoBinaries []CargoBinary `yaml:"cargoBinaries"`
	// CBinary copies a program compiled from one C file, linked statically.
	CBinary *CBinary `yaml:"cBinary"`
	// Files maps files and folders of the definition's folder to absolute paths in the image.
	Files map[string]string `yaml:"files"`
	// Directories maps empty directories to their octal modes.
	Directories map[string]string `yaml:"directories"`

	// Entrypoint is the command, one argument an item. Empty: inherited.
	Entrypoint []string `yaml:"entrypoint"`
	// Env is added to what the base sets.
	Env map[string]string `yaml:"env"`
	// User is `uid:gid`, in numbers, so that runAsNonRoot can be checked. Empty: inherited.
	User string `yaml:"user"`
	// WorkingDir is where the entrypoint starts. Empty: inherited.
	WorkingDir string `yaml:"workingDir"`
}

// Npm is a source: `npm ci` without development dependencies and without running any install script.
type Npm struct {
	// Copy maps paths below the installed folder to absolute paths in the image. Default: node_modules to
	// /app/node_modules.
	Copy map[string]string `yaml:"copy"`
}

// Pip is a source: wheels only, each with the hash that requirements.txt gives.
type Pip struct {
	// Python is the version that the wheels must suit, such as "3.11".
	Python string `yaml:"python"`
	// To is the folder in the image; put it in PYTHONPATH.
	To string `yaml:"to"`
}

// GoBinary is a source: a program of one of the tool's components (`e2e/cluster/binaries/<component>`).
type GoBinary struct {
	Component string `yaml:"component"`
	Binary    string `yaml:"binary"`
	To        string `yaml:"to"`
}

// CargoBinary is a source: a binary target of the Cargo workspace.
type CargoBinary struct {
	Package string `yaml:"package"`
	Binary  string `yaml:"binary"`
	To      string `yaml:"to"`
}

// CBinary is a source: one C file.
type CBinary struct {
	Source string `yaml:"source"`
	To     string `yaml:"to"`
}

// UnknownImageError tells that no definition has the name.
type UnknownImageError struct {
	Name  string
	Known []string
}

func (e *UnknownImageError) Error() string {
	return fmt.Sprintf("there is no image %q; name one of: %s", e.Name, strings.Join(e.Known, ", "))
}

// Catalog is the set of definitions below one folder.
type Catalog struct {
	definitions map[string]Definition
}

// LoadCatalog reads every `<dir>/<name>/image.yaml`. It fails on the first that is not valid.
func LoadCatalog(dir string) (*Catalog, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*", "image.yaml"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no image definition below %s: run this inside a checkout of the repository", dir)
	}
	catalog := &Catalog{definitions: map[string]Definition{}}
	for _, file := range files {
		definition, err := loadDefinition(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		catalog.definitions[definition.Name] = definition
	}
	for _, definition := range catalog.definitions {
		if _, err := catalog.chain(definition.Name); err != nil {
			return nil, err
		}
	}
	return catalog, nil
}

// Names lists the definitions in the alphabet's order.
func (c *Catalog) Names() []string {
	names := make([]string, 0, len(c.definitions))
	for name := range c.definitions {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Programs lists the images that no other one is based on, in the alphabet's order.
func (c *Catalog) Programs() []string {
	bases := map[string]bool{}
	for _, definition := range c.definitions {
		bases[definition.Base] = true
	}
	return slices.DeleteFunc(c.Names(), func(name string) bool { return bases[name] })
}

// Get returns the definition of that name, or an [UnknownImageError].
func (c *Catalog) Get(name string) (Definition, error) {
	definition, ok := c.definitions[name]
	if !ok {
		return Definition{}, &UnknownImageError{Name: name, Known: c.Names()}
	}
	return definition, nil
}

// chain returns the definition of that name preceded by its bases, the lowest first.
func (c *Catalog) chain(name string) ([]Definition, error) {
	var chain []Definition
	for next := name; next != scratch; {
		definition, err := c.Get(next)
		if err != nil {
			return nil, err
		}
		for _, above := range chain {
			if above.Name == next {
				return nil, fmt.Errorf("image %s is its own base: break the circle in its image.yaml", next)
			}
		}
		chain = append([]Definition{definition}, chain...)
		next = definition.Base
	}
	return chain, nil
}

func loadDefinition(file string) (Definition, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return Definition{}, err
	}
	dir := filepath.Dir(file)
	definition := Definition{Name: filepath.Base(dir), Dir: dir, Tag: "latest"}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err := decoder.Decode(&definition); err != nil && !errors.Is(err, io.EOF) {
		return Definition{}, err
	}
	return definition, definition.validate()
}

var (
	userPattern = regexp.MustCompile(`^[0-9]+:[0-9]+$`)
	modePattern = regexp.MustCompile(`^[01]?[0-7]{3}$`)
)

// validate checks what can be checked without building.
func (d Definition) validate() error {
	if d.Base == "" {
		return errors.New("base is missing: write `base: scratch` or the name of another image")
	}
	if d.Description == "" {
		return errors.New("description is missing: say in one sentence what the image is for")
	}
	if d.User != "" && !userPattern.MatchString(d.User) {
		return fmt.Errorf("user %q: write uid:gid in numbers, such as 65532:65532", d.User)
	}
	for _, to := range d.destinations() {
		if !strings.HasPrefix(to, "/") {
			return fmt.Errorf("destination %q: write an absolute path", to)
		}
	}
	for dir, mode := range d.Directories {
		if !modePattern.MatchString(mode) {
			return fmt.Errorf("directories: mode %q of %s: write it in octal and quoted, such as \"1777\"", mode, dir)
		}
	}
	for _, from := range d.folderFiles() {
		if _, err := os.Stat(filepath.Join(d.Dir, from)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is named but not there: add the file or take it out of image.yaml", from)
		}
	}
	return nil
}

// destinations lists every path in the image that the definition writes by name.
func (d Definition) destinations() []string {
	var to []string
	for _, p := range d.Files {
		to = append(to, p)
	}
	for p := range d.Directories {
		to = append(to, p)
	}
	if d.Npm != nil {
		for _, p := range d.Npm.Copy {
			to = append(to, p)
		}
	}
	if d.Pip != nil {
		to = append(to, d.Pip.To)
	}
	if d.GoBinary != nil {
		to = append(to, d.GoBinary.To)
	}
	for _, b := range d.CargoBinaries {
		to = append(to, b.To)
	}
	if d.CBinary != nil {
		to = append(to, d.CBinary.To)
	}
	return to
}

// folderFiles lists what the definition needs in its own folder.
func (d Definition) folderFiles() []string {
	var from []string
	for p := range d.Files {
		from = append(from, p)
	}
	if d.Npm != nil {
		from = append(from, "package.json", "package-lock.json")
	}
	if d.Pip != nil {
		from = append(from, "requirements.txt")
	}
	if d.CBinary != nil {
		from = append(from, d.CBinary.Source)
	}
	return from
}
