#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A containerd of its own for tests of the node agent: containerd.sh start|stop|clean DIR.
# Two images are in it, composed here of busybox-static: cube.test/pause:1 and cube.test/busybox:1 (also by the
# names busybox:1 and, with the user 1000 and nobody in their configuration, cube.test/user:1 and cube.test/nobody:1).
set -e
DIR=$2
CTR="ctr -a $DIR/containerd.sock -n k8s.io"

image() { # NAME CONFIG-JSON
    local d=$DIR/image
    rm -rf $d && mkdir -p $d
    cp $DIR/layer.tar $d/layer.tar
    printf '{"architecture":"amd64","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$2" "$(sha256sum $d/layer.tar | cut -d' ' -f1)" > $d/config.json
    printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$1" > $d/manifest.json
    tar -C $d -cf $DIR/image.tar manifest.json config.json layer.tar
    $CTR images import $DIR/image.tar > /dev/null
    rm -rf $d $DIR/image.tar
}

layer() {
    local r=$DIR/root
    mkdir -p $r/bin $r/etc $r/tmp $r/var/tmp $r/root $r/home
    cp /bin/busybox $r/bin/busybox
    for a in $(/bin/busybox --list); do [ $a = busybox ] || ln -s busybox $r/bin/$a; done
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/sh\n' > $r/etc/passwd
    printf 'root:x:0:\nnobody:x:65534:\n' > $r/etc/group
    chmod 1777 $r/tmp $r/var/tmp
    tar -C $r --owner=0 --group=0 -cf $DIR/layer.tar .
    rm -rf $r
}

start() {
    mkdir -p $DIR/cni
    cat > $DIR/containerd.toml <<C
version = 2
root = "$DIR/root.d"
state = "$DIR/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "$DIR/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "cube.test/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$DIR/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "${SNAPSHOTTER:-overlayfs}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
C
    setsid containerd --config $DIR/containerd.toml > $DIR/containerd.log 2>&1 < /dev/null &
    echo $! > $DIR/containerd.pid
    for i in $(seq 200); do $CTR version > /dev/null 2>&1 && break; sleep 0.05; done
    $CTR version > /dev/null
    layer
    image cube.test/pause:1 '{"Entrypoint":["/bin/sleep","1000000000"]}'
    image cube.test/busybox:1 '{"Cmd":["sh"],"Env":["PATH=/bin"]}'
    image docker.io/library/busybox:1 '{"Cmd":["sh"],"Env":["PATH=/bin"]}'
    image cube.test/user:1 '{"Cmd":["sh"],"Env":["PATH=/bin"],"User":"1000"}'
    image cube.test/nobody:1 '{"Cmd":["sh"],"Env":["PATH=/bin"],"User":"nobody"}'
    rm -f $DIR/layer.tar
}

stop() {
    local t
    for t in $($CTR tasks list -q 2> /dev/null); do $CTR tasks kill -s KILL $t 2> /dev/null; done
    sleep 0.3
    for t in $($CTR containers list -q 2> /dev/null); do $CTR tasks delete -f $t > /dev/null 2>&1; done
    [ -f $DIR/containerd.pid ] && kill $(cat $DIR/containerd.pid)
    for i in $(seq 100); do kill -0 $(cat $DIR/containerd.pid) 2> /dev/null || break; sleep 0.05; done
    # shims that still stand are of this containerd alone: their socket folder is below its state
    for t in $(ps -eo pid,args | awk -v d="$DIR/" 'index($0, "containerd-shim") && index($0, d) {print $1}'); do kill -9 $t 2> /dev/null; done
    awk '{print $2}' /proc/self/mounts | grep "^$DIR/" | sort -r | while read m; do umount -l "$m"; done
    true
}

# stop, and nothing is left: cgroups (named as the folder), files
clean() {
    local c p
    stop
    for c in /sys/fs/cgroup/*/$(basename $DIR) /sys/fs/cgroup/$(basename $DIR); do
        [ -d $c ] || continue
        for p in $(find $c -name cgroup.procs -exec cat {} +); do kill -9 $p; done
        for p in $(seq 20); do
            find $c -depth -type d -exec rmdir {} + 2> /dev/null
            [ -d $c ] || break
            sleep 0.1
        done
    done
    grep -q " $DIR/" /proc/self/mounts || rm -rf $DIR
}

set +e
[ "$1" = start ] && set -e
$1
