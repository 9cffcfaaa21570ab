#!/usr/bin/env bash
# Installs, from Debian's packages, what this machine lacks to build and run clusters and images; without root, or on
# another distribution, it names the packages instead. Go and Rust come from their own installers and are only checked.
set -euo pipefail
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# What must be there (a program, or a file) and the package that brings it.
needs=(
  gcc                        gcc           # runc, the pause program
  g++                        g++           # libFuzzer
  /usr/include/stdio.h       libc6-dev
  pkg-config                 pkg-config
  /usr/include/seccomp.h     libseccomp-dev
  iptables                   iptables      # kube-proxy
  nft                        nftables      # policy agent
  ip                         iproute2      # tests of the policy agent, looking around in the node
  nsenter                    util-linux    # sallyport-cluster exec
  mount                      mount         # kubelet
  dpkg-deb                   dpkg          # images
  npm                        npm           # images
  /etc/ssl/certs/ca-certificates.crt ca-certificates
)

fail() { echo "deps: $*" >&2; exit 1; }

# at_least WANTED FOUND: compares versions.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n1)" = "$1" ]; }

[ "$(uname -s)" = Linux ] || fail "clusters need Linux namespaces; this is $(uname -s)"
command -v go >/dev/null || fail "Go is missing: install Go 1.26 or later (https://go.dev/doc/install)"
go_version=$(GOTOOLCHAIN=local go env GOVERSION)
at_least 1.26 "${go_version#go}" || fail "Go ${go_version#go} is too old: install Go 1.26 or later (https://go.dev/doc/install)"
command -v cargo >/dev/null || fail "Rust is missing: install it with rustup (https://rustup.rs)"

missing=()
for ((i = 0; i < ${#needs[@]}; i += 2)); do
  case ${needs[i]} in
    /*) [ -e "${needs[i]}" ] || missing+=("${needs[i + 1]}") ;;
    *) command -v "${needs[i]}" >/dev/null || missing+=("${needs[i + 1]}") ;;
  esac
done
# Without these, wheels cannot be fetched; a python3 without pip is common.
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
[ ${#missing[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null || fail "this machine lacks what these Debian packages bring; install your distribution's own: ${missing[*]}"
[ "$(id -u)" = 0 ] || fail "missing packages; run: sudo apt-get install --no-install-recommends ${missing[*]}"
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --no-install-recommends "${missing[@]}" >/dev/null
