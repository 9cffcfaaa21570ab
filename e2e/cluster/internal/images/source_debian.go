package images

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// debianSource unpacks Debian packages without installing them: no maintainer script runs.
//
// The versions are those that this machine's package lists offer; they are part of the fingerprint and stand in the
// image's history. The downloads are checked against the hashes in the signed lists.
type debianSource struct {
	packages []string
	cache    string
	resolved []debianPackage
}

// debianPackage is one line of what `apt-get download --print-uris` says.
type debianPackage struct {
	file   string
	sha256 string
}

// certificateBundle is what the maintainer script of ca-certificates would have written.
const certificateBundle = "etc/ssl/certs/ca-certificates.crt"

// mergedDirs are the top folders that Debian has merged into /usr (base-files makes the links; packages of Debian 12
// still ship files below the old names).
var mergedDirs = []string{"bin", "lib", "lib64", "sbin"}

var printedURI = regexp.MustCompile(`^'[^']*' (\S+\.deb) \d+ SHA256:([0-9a-f]{64})$`)

func (s *debianSource) describe() string {
	versions := make([]string, 0, len(s.resolved))
	for _, p := range s.resolved {
		versions = append(versions, strings.TrimSuffix(p.file, ".deb"))
	}
	if len(versions) == 0 {
		versions = s.packages
	}
	return "debian " + strings.Join(versions, " ")
}

func (s *debianSource) fingerprint(ctx context.Context) (string, error) {
	args := append([]string{"download", "--print-uris"}, s.packages...)
	empty, err := os.MkdirTemp("", "sallyport-apt-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(empty)
	out, err := s.apt(empty, args).run(ctx)
	if err != nil {
		return "", fmt.Errorf("looking up Debian packages (if the lists are missing or old: `apt-get update`): %w", err)
	}
	resolved, err := parsePrintedURIs(string(out))
	if err != nil {
		return "", err
	}
	if len(resolved) != len(s.packages) {
		return "", fmt.Errorf("apt-get offers %d of the %d packages %v: run `apt-get update`", len(resolved), len(s.packages), s.packages)
	}
	s.resolved = resolved
	var parts []string
	for _, p := range resolved {
		parts = append(parts, p.file, p.sha256)
	}
	return hashStrings(parts...), nil
}

func (s *debianSource) apt(dir string, args []string) program {
	return program{name: "apt-get", args: append([]string{"-qq"}, args...), dir: dir, install: "the images' libraries come from Debian's packages; build them on Debian or Ubuntu"}
}

// parsePrintedURIs reads apt-get's list and sorts it by file name.
func parsePrintedURIs(out string) ([]debianPackage, error) {
	var list []debianPackage
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		match := printedURI.FindStringSubmatch(strings.TrimSpace(line))
		if match == nil {
			return nil, fmt.Errorf("apt-get printed %q, which is no package with a SHA-256", line)
		}
		list = append(list, debianPackage{file: match[1], sha256: match[2]})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].file < list[j].file })
	return list, nil
}

func (s *debianSource) collect(ctx context.Context, _ string, tree *Tree) error {
	if err := s.download(ctx); err != nil {
		return err
	}
	for _, dir := range mergedDirs {
		if err := tree.Dir("usr/"+dir, 0o755); err != nil {
			return err
		}
		if err := tree.Symlink(dir, "usr/"+dir); err != nil {
			return err
		}
	}
	var certificates bytes.Buffer
	for _, p := range s.resolved {
		if err := unpackDeb(ctx, filepath.Join(s.cache, p.file), tree, &certificates); err != nil {
			return fmt.Errorf("unpacking %s: %w", p.file, err)
		}
	}
	if certificates.Len() > 0 {
		return tree.Bytes(certificateBundle, 0o644, certificates.Bytes())
	}
	return nil
}

// download fetches the packages that the cache lacks and checks all of them.
func (s *debianSource) download(ctx context.Context) error {
	if err := os.MkdirAll(s.cache, 0o755); err != nil {
		return err
	}
	var missing []string
	for _, p := range s.resolved {
		if p.check(s.cache) != nil {
			name, _, _ := strings.Cut(p.file, "_")
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		// As root, apt-get would fetch as the user _apt, who may not write into the cache.
		args := append([]string{"-o", "APT::Sandbox::User=root", "download"}, missing...)
		if _, err := s.apt(s.cache, args).run(ctx); err != nil {
			return fmt.Errorf("downloading Debian packages: %w", err)
		}
	}
	for _, p := range s.resolved {
		if err := p.check(s.cache); err != nil {
			return err
		}
	}
	return nil
}

func (p debianPackage) check(dir string) error {
	hash, err := hashFile(filepath.Join(dir, p.file))
	if err != nil {
		return err
	}
	if hash != p.sha256 {
		return fmt.Errorf("%s has the SHA-256 %s, its package list says %s: delete it and try again", p.file, hash, p.sha256)
	}
	return nil
}

// unpackDeb adds the files of one package, without manual pages, translations and the like.
func unpackDeb(ctx context.Context, file string, tree *Tree, certificates io.Writer) error {
	content, err := program{name: "dpkg-deb", args: []string{"--fsys-tarfile", file}, install: "apt-get install dpkg"}.run(ctx)
	if err != nil {
		return err
	}
	in := tar.NewReader(bytes.NewReader(content))
	unpacked := map[string][]byte{}
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := mergeUsr(path.Clean("/" + header.Name)[1:])
		if !wantedFromDeb(name) {
			continue
		}
		mode := fs.FileMode(header.Mode)
		switch header.Typeflag {
		case tar.TypeDir:
			err = tree.Dir(name, mode)
		case tar.TypeSymlink:
			err = tree.Symlink(name, header.Linkname)
		case tar.TypeLink:
			err = tree.Bytes(name, mode, unpacked[mergeUsr(path.Clean("/" + header.Linkname)[1:])])
		case tar.TypeReg:
			if unpacked[name], err = io.ReadAll(in); err != nil {
				return err
			}
			if strings.HasPrefix(name, "usr/share/ca-certificates/") && strings.HasSuffix(name, ".crt") {
				if _, err := certificates.Write(unpacked[name]); err != nil {
					return err
				}
			}
			err = tree.Bytes(name, mode, unpacked[name])
		default:
			err = fmt.Errorf("%s has the tar type %q, which an image here cannot hold", name, header.Typeflag)
		}
		if err != nil {
			return err
		}
	}
}

// mergeUsr gives the place below /usr of a path below one of the merged folders.
func mergeUsr(name string) string {
	top, _, _ := strings.Cut(name, "/")
	for _, dir := range mergedDirs {
		if top == dir {
			return "usr/" + name
		}
	}
	return name
}

// wantedFromDeb tells whether a running program may need the path. Copyright notices stay: the licences ask for them.
func wantedFromDeb(name string) bool {
	for _, prefix := range []string{"man", "locale", "lintian", "info", "bug", "i18n"} {
		if strings.HasPrefix(name, "usr/share/"+prefix+"/") {
			return false
		}
	}
	if strings.HasPrefix(name, "usr/share/doc/") {
		return path.Base(name) == "copyright"
	}
	return name != ""
}
