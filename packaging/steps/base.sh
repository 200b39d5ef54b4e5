#!/bin/sh
# Makes a whole distribution in STAGE: debootstrap's smallest variant, then the wanted packages with all updates.
# base.ts picks from it what the plugin needs. Runs in a mount and pid namespace of its own, so nothing stays mounted or running.
# Usage: base.sh STAGE SUITE MIRROR KEYRING PACKAGE...   (apt source lines are read from the file STAGE.sources)
set -eu
stage=$1 suite=$2 mirror=$3 keyring=$4
shift 4

mkdir -p "$stage.debs"
debootstrap --variant=minbase --force-check-gpg --keyring="$keyring" --cache-dir="$stage.debs" "$suite" "$stage" "$mirror"

# No service may start, no documentation is unpacked, no write is flushed: the stage is thrown away.
printf '#!/bin/sh\nexit 101\n' >"$stage/usr/sbin/policy-rc.d"
chmod 755 "$stage/usr/sbin/policy-rc.d"
printf 'path-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\npath-exclude=/usr/share/locale/*\nforce-unsafe-io\n' >"$stage/etc/dpkg/dpkg.cfg.d/build"
rm -f "$stage"/etc/apt/sources.list.d/*
cp "$stage.sources" "$stage/etc/apt/sources.list"

# The host's proxy and certificate settings for apt hold here too.
apt-config dump | grep -iE '^Acquire::https?::' >"$stage/etc/apt/apt.conf.d/90host" || true
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
  mkdir -p "$stage/etc/ssl/certs"
  cp /etc/ssl/certs/ca-certificates.crt "$stage/etc/ssl/certs/"
fi
cp /etc/resolv.conf "$stage/etc/resolv.conf"

mount -t proc proc "$stage/proc"
export DEBIAN_FRONTEND=noninteractive
chroot "$stage" apt-get -q update
chroot "$stage" apt-get -qy dist-upgrade --no-install-recommends
chroot "$stage" apt-get -qy install --no-install-recommends "$@"
umount "$stage/proc"
