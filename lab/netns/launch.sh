#!/bin/sh
# Keeps true: what is started here belongs to one lab for good: its cgroups and its network namespace mark it and all its children.
# In: NETNS (a path), CGROUPS (cgroup.procs files, may be empty), NAMESPACES (unshare options, may be empty), COMMAND…   Out: becomes COMMAND.
# Rule: joins the cgroups first, since the cgroup namespace begins where the process stands.
set -eu
netns=$1 cgroups=$2 namespaces=$3
shift 3
for procs in $cgroups; do
  echo $$ >"$procs"
done
[ -n "$namespaces" ] || exec nsenter --net="$netns" "$@"
# shellcheck disable=SC2086 # a list of options
exec nsenter --net="$netns" unshare $namespaces "$@"
