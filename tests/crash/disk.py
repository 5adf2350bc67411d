"""Disks for tests: images on loop devices with a file system, whose power can be cut.

    why = disk.why_not("xfs")          # a reason why this machine cannot, or ""
    with Disk("xfs", size="512M") as disk:
        ... disk.mountpoint ...
        disk.cut()                     # nothing more reaches the disk; what was not flushed is gone
        disk.remount()                 # as after a boot: the journal is replayed

Only what was mounted and attached here is let go, by its own name.
"""
import os
import random
import shutil
import subprocess
import tempfile
import time


KINDS = ("ext4", "xfs")


class DiskError(AssertionError):
    pass


def sh(*command, check=True, **more):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **more)
    if check and done.returncode != 0:
        raise DiskError("%s: %s" % (" ".join(command), done.stdout.strip()))
    return done.stdout.strip()


def make_file_system(kind, device, reserve=True):
    if kind == "ext4":
        sh("mkfs.ext4", "-q", "-F", *(() if reserve else ("-m", "0")), device)
    else:
        sh("mkfs.xfs", "-q", "-f", device)


def why_not(*kinds, programs=()):
    """Why disks of these kinds cannot be made here; "" if they can."""
    if os.geteuid() != 0:
        return "only root can attach loop devices and mount"
    needed = ["losetup", "mount", "umount", "xfs_io", *programs]
    needed += ["mkfs." + kind for kind in kinds]
    for name in needed:
        if shutil.which(name) is None and shutil.which(name, path="/usr/sbin:/sbin") is None:
            return "there is no %s here" % name
    for kind in kinds:
        try:
            with Disk(kind, size="320M"):
                pass
        except DiskError as error:
            return "no %s on a loop device: %s" % (kind, error)
    return ""


def seeded_kinds(options, what, why_not_kind=why_not):
    """Each kind of file system that was asked for, with its seed; says which cannot be had here."""
    for kind in (options.fs,) if options.fs else KINDS:
        why = why_not_kind(kind)
        if why:
            print("# skipped: %s on %s: %s" % (what, kind, why))
            continue
        yield kind, options.seed or random.SystemRandom().randrange(1, 1 << 30)


def detach(device):
    """A device that was unmounted a moment ago may be busy for another one."""
    for attempt in range(50):
        if not sh("losetup", device, check=False).startswith(device):
            return
        sh("losetup", "-d", device, check=False)
        time.sleep(0.1 if attempt else 0.01)


class Disk:
    wrapper = ()  # what a server on it has to run under

    def __init__(self, kind, size="1G", options="", reserve=True):
        self.kind, self.options = kind, options
        self.folder = tempfile.mkdtemp(prefix="gneiss-disk-")
        self.image = os.path.join(self.folder, "image")
        self.mountpoint = os.path.join(self.folder, "mnt")
        self.device = None
        self.mounted = False
        try:
            os.mkdir(self.mountpoint)
            sh("truncate", "-s", size, self.image)
            self.device = self.attach()
            make_file_system(kind, self.device, reserve)
            self.mount()
        except BaseException:
            self.close()
            raise

    def attach(self):
        return sh("losetup", "-f", "--show", self.image)

    def mount(self):
        sh("mount", *(["-o", self.options] if self.options else []), self.device, self.mountpoint)
        self.mounted = True

    def unmount(self):
        if not self.mounted:
            return
        for attempt in range(100):
            if subprocess.run(["umount", self.mountpoint], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0:
                break
            time.sleep(0.05)
        else:
            sh("umount", "-l", self.mountpoint)
        self.mounted = False

    def cut(self):
        """The file system stops at once; what it had not brought to the device is lost."""
        sh("xfs_io", "-x", "-c", "shutdown", self.mountpoint)

    def sync(self):
        """What was written so far is on the disk."""
        sh("sync", "-f", self.mountpoint)

    def remount(self):
        self.unmount()
        self.mount()

    def close(self):
        self.unmount()
        if self.device:
            detach(self.device)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
