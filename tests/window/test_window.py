"""The app in a real window, driven as people do: `cargo xtask test window`.

What it shows is read as a screen reader reads it, from the accessibility tree on the session bus (AT-SPI); the mouse and the keyboard are
xdotool's, on a display of its own (Xvfb, with openbox for the frames). It needs a session bus: `dbus-run-session -- python3 tests/window/test_window.py`.

POLYGLANCE is the program, SCREENSHOTS the folder in which pictures of the window are kept.
"""

import collections
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, Gio, GLib  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "assets/demo/samples"
PROGRAM = os.environ["POLYGLANCE"]
SCREENSHOTS = pathlib.Path(os.environ.get("SCREENSHOTS", ROOT / "target/screenshots"))
# For a machine with two slow cores and other things to do.
PATIENCE = 60

Node = collections.namedtuple("Node", "role name states rect")


def setUpModule():
    reader, writer = os.pipe()
    # By default it begins anew whenever its last client leaves, and turns away who comes meanwhile.
    options = ["-noreset", "-nolisten", "tcp", "-screen", "0", "1400x1000x24"]
    display = subprocess.Popen(["Xvfb", "-displayfd", str(writer), *options], pass_fds=[writer])
    unittest.addModuleCleanup(display.wait)
    unittest.addModuleCleanup(display.terminate)
    os.close(writer)
    with os.fdopen(reader) as number:
        os.environ["DISPLAY"] = ":" + number.readline().strip()
    manager = subprocess.Popen(["openbox"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    unittest.addModuleCleanup(manager.wait)
    unittest.addModuleCleanup(manager.terminate)
    # Programs describe themselves only where somebody listens.
    bus = Gio.bus_get_sync(Gio.BusType.SESSION)
    arguments = GLib.Variant("(ssv)", ("org.a11y.Status", "IsEnabled", GLib.Variant("b", True)))
    bus.call_sync("org.a11y.Bus", "/org/a11y/bus", "org.freedesktop.DBus.Properties", "Set", arguments, None, Gio.DBusCallFlags.NONE, -1)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    # Where indexes are kept: not those of whoever runs this.
    data = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(data.cleanup)
    os.environ["XDG_DATA_HOME"] = data.name


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, **options).stdout


class Window:
    """A window of the program, and the hands on it."""

    def __init__(self, **environment):
        self.process = subprocess.Popen([PROGRAM], stderr=subprocess.PIPE, env=os.environ | environment)
        self.id = self.wait(self.number, "a window")
        run("xdotool", "windowactivate", "--sync", self.id)
        self.scores()

    def number(self):
        found = subprocess.run(["xdotool", "search", "--onlyvisible", "--name", "^Polyglance$"], capture_output=True).stdout.split()
        return found[0].decode() if found else None

    def wait(self, read, what):
        """Waits until `read` gives something, and gives it."""
        end = time.monotonic() + PATIENCE
        while True:
            found = read()
            if found:
                return found
            if self.process.poll() is not None:
                raise AssertionError(f"the program has ended: {self.process.stderr.read().decode()}")
            if time.monotonic() > end:
                shown = [f"{node.role} {node.name!r} {node.rect}" for node in self.nodes()]
                raise AssertionError(f"never came: {what}; there is\n" + "\n".join(shown))
            time.sleep(0.05)

    def nodes(self):
        """Everything shown, in reading order."""
        desktop, nodes = Atspi.get_desktop(0), []
        desktop.clear_cache()
        for program in children(desktop):
            collect(program, nodes, self.process.pid)
        return nodes

    def find(self, role, name):
        """Waits for a node of this role whose name matches, at rest: nothing moves it any more."""
        last = [None]

        def at_rest():
            found = [node for node in self.nodes() if node.role == role and re.search(name, node.name) and Atspi.StateType.ENABLED in node.states]
            rested = found and found[0].rect == last[0]
            last[0] = found[0].rect if found else None
            return found[0] if rested else None

        return self.wait(at_rest, f"{role} {name}")

    def gone(self, role, name):
        self.wait(lambda: not any(node.role == role and re.search(name, node.name) for node in self.nodes()), f"no {role} {name}")

    def place(self, node, share=(0.5, 0.5)):
        x, y, width, height = node.rect
        return round(x + share[0] * width), round(y + share[1] * height)

    def move(self, place):
        run("xdotool", "mousemove", "--sync", "--window", self.id, *place)

    def click(self, role, name, share=(0.5, 0.5)):
        self.move(self.place(self.find(role, name), share))
        # At the pace of a hand.
        time.sleep(0.1)
        run("xdotool", "mousedown", "1")
        time.sleep(0.1)
        run("xdotool", "mouseup", "1")
        time.sleep(0.1)

    def drag(self, start, end):
        self.move(start)
        run("xdotool", "mousedown", "1")
        # X tells a window where the pointer is apart from what its buttons do: no hand is so quick that the two get mixed up, and none drags
        # from the beginning to the end within one frame, which without a GPU may take half a second.
        time.sleep(0.5)
        for step in (0.2, 0.6, 1.0):
            self.move([round(a + step * (b - a)) for a, b in zip(start, end)])
            time.sleep(0.5)
        run("xdotool", "mouseup", "1")

    def key(self, *keys):
        run("xdotool", "key", "--delay", "100", *keys)

    def replace(self, role, name, text):
        """Puts a text in place of a field's, from the clipboard, which knows every script."""
        copy(text)
        self.click(role, name)
        is_focused = lambda node: node.role == role and re.search(name, node.name) and Atspi.StateType.FOCUSED in node.states
        self.wait(lambda: any(is_focused(node) for node in self.nodes()), f"the focus on {role} {name}")
        # One frame each: in the frame of the click keys do not reach the field.
        for key in ("ctrl+a", "ctrl+v"):
            time.sleep(0.5)
            self.key(key)

    def scores(self, test=lambda scores: True):
        """Label, share in percent and logit of every bar, once `test` accepts them."""

        def read():
            pattern = r"^(.*): \S+ <?([\d.]+) %, \S+ <?[\d.]+ %, \S+ ([-+.\d]+)$"
            bars = [re.match(pattern, node.name, re.S) for node in self.nodes() if node.role == "progress bar"]
            scores = [(bar[1], float(bar[2]), float(bar[3])) for bar in bars if bar]
            return scores if scores and test(scores) else None

        return self.wait(read, "scores")

    def scene(self):
        """The stage as its link tells it."""
        copy("nothing")
        self.click("push button", "^Copy link$")
        self.wait(lambda: "#" in paste(), "a link on the clipboard")
        link = paste()
        values = dict(urllib.parse.parse_qsl(link.split("#", 1)[1]))
        frame, *items = values["stage"].split(";")
        return frame, [item.split(",") for item in items], values["words"].split("\n")

    def screenshot(self, name):
        self.move((1, 1))
        time.sleep(0.3)
        run("import", "-window", self.id, SCREENSHOTS / f"window-{name}.png")

    def pixels(self, rect):
        x, y, width, height = rect
        return run("import", "-window", self.id, "-crop", f"{width}x{height}+{x}+{y}", "rgb:-")

    def close(self):
        """Closes it by openbox's keys, and gives the program's exit code."""
        self.key("alt+F4")
        return self.process.wait(PATIENCE)


def children(accessible):
    return [accessible.get_child_at_index(index) for index in range(accessible.get_child_count())]


def collect(accessible, nodes, process):
    """Adds what is shown there by a process. What goes away, or becomes something else, while it is read is left out."""
    try:
        if accessible is None or accessible.get_process_id() != process:
            return
        node = read(accessible)
        below = children(accessible)
    except GLib.Error:
        return
    if node:
        nodes.append(node)
    for child in below:
        collect(child, nodes, process)


def read(accessible):
    component = accessible.get_component_iface()
    if not component:
        return None
    rect = component.get_extents(Atspi.CoordType.WINDOW)
    states = accessible.get_state_set().get_states()
    return Node(accessible.get_role_name(), accessible.get_name(), states, (rect.x, rect.y, rect.width, rect.height))


def copy(content, kind="UTF8_STRING"):
    content = content.encode() if isinstance(content, str) else content
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(["xclip", "-selection", "clipboard", "-target", kind], input=content, check=True, **quiet)


def paste(kind="UTF8_STRING"):
    return subprocess.run(["xclip", "-selection", "clipboard", "-target", kind, "-out"], capture_output=True).stdout.decode()


def best(scores):
    return max(scores, key=lambda score: score[2])[0]


class WindowTest(unittest.TestCase):
    def setUp(self):
        self.window = Window()

    def tearDown(self):
        self.window.process.kill()
        self.window.process.wait()
        self.window.process.stderr.close()

    def another(self, **environment):
        """Closes the window and opens one in another environment."""
        self.assertEqual(self.window.close(), 0)
        self.tearDown()
        self.window = Window(**environment)
        return self.window

    def test_the_stage_is_arranged_and_scored(self):
        window = self.window
        window.screenshot("stage")
        window.click("push button", "^Clear$")
        window.click("push button", "^octopus$")
        window.find("image", "^Stage: octopus;")
        window.scores(lambda scores: best(scores) == "octopus")
        frame = window.find("image", "^Stage: ")
        rocket = window.find("push button", "^rocket$")
        window.drag(window.place(rocket), window.place(frame, (0.2, 0.25)))
        window.find("image", "^Stage: octopus, rocket;")
        window.drag(window.place(frame), window.place(frame, (0.75, 0.7)))
        _, [octopus, rocket], words = window.scene()
        self.assertEqual((octopus[0], rocket[0]), ("🐙", "🚀"))
        for number, expected in zip(octopus[1:3] + rocket[1:3], (0.75, 0.7, 0.2, 0.25)):
            self.assertAlmostEqual(float(number), expected, delta=0.02)
        self.assertIn("octopus", words)
        # The keyboard moves what is chosen.
        window.click("image", "^Stage: ", (0.75, 0.7))
        # The arrows are the stage's once it has had the focus for a frame, which takes its time without a GPU.
        time.sleep(1)
        window.key("Left", "Left", "Left", "plus")
        _, [moved, _], _ = window.scene()
        self.assertAlmostEqual(float(moved[1]), float(octopus[1]) - 0.06, delta=0.011)
        self.assertGreater(float(moved[3]), float(octopus[3]))
        # The frame is pulled, and the patches follow.
        handle = window.place(window.find("slider", "^Frame: "))
        window.drag(handle, (handle[0] - 150, handle[1]))
        grid = lambda: [int(number) for number in re.search(r"(\d+) × (\d+) = ", window.find("image", "^Stage: ").name).groups()]
        window.wait(lambda: grid()[0] >= grid()[1], "a narrower grid")
        window.click("toggle button", "^In 12 languages$")
        for language in ("日本語", "العربية", "हिन्दी", "Русский", "Türkçe"):
            window.find("push button", f"^{language}$")
        window.screenshot("stage-languages")
        self.assertEqual(window.close(), 0)

    def test_pictures_are_classified_in_any_script(self):
        window = self.window
        window.key("alt+2")
        for name in ("rocket", "castle"):
            if name == "castle":
                # With a picture there, the samples are in their menu.
                window.click("push button", "^Samples$")
            window.click("push button", f"^{name}$")
            window.scores(lambda scores: best(scores) == name)
        window.screenshot("classify")
        window.click("radio button", "^rocket$")
        window.scores(lambda scores: best(scores) == "rocket")
        window.replace("entry", "^Labels", "قلعة\n로켓\nпицца\n鍵\nपिज़्ज़ा")
        scores = window.scores(lambda scores: len(scores) == 5)
        self.assertEqual(best(scores), "로켓")
        self.assertAlmostEqual(sum(share for _, share, _ in scores), 100, delta=0.5)
        window.screenshot("classify-scripts")
        window.click("toggle button", "^All pictures$")
        window.find("label", "^قلعة$")
        # Alt and the page keys go through the pictures.
        window.key("alt+Page_Down")
        window.scores(lambda scores: best(scores) == "قلعة")
        window.screenshot("classify-table")
        self.assertEqual(window.close(), 0)

    def test_pictures_are_pasted(self):
        window = self.window
        copy(run("convert", SAMPLES / "rocket.jpg", "png:-"), "image/png")
        window.key("ctrl+v")
        window.find("radio button", "^pasted$")
        window.scores(lambda scores: best(scores) == "rocket")
        # What a file manager copies, and what it does not.
        copy(f"{SAMPLES / 'castle.jpg'}\n{SAMPLES / 'key.jpg'}")
        window.key("ctrl+v")
        for name in ("castle", "key"):
            window.click("radio button", f"^{name}.jpg$")
            window.scores(lambda scores: best(scores) == name)
        copy("neither a file nor an address")
        window.key("ctrl+v")
        # Where text is written it stays text.
        window.replace("entry", "^Labels", str(SAMPLES / "castle.jpg"))
        window.scores(lambda scores: [label for label, _, _ in scores] == [str(SAMPLES / "castle.jpg")])
        self.assertEqual(len([node for node in window.nodes() if node.role == "radio button" and node.name.endswith(".jpg")]), 2)
        window.screenshot("pasted")
        self.assertEqual(window.close(), 0)

    def test_a_camera_is_looked_through(self):
        # One without a camera, whatever the machine has.
        window = self.another(POLYGLANCE_CAMERA="-f v4l2 -i /dev/video-none")
        window.key("alt+2")
        window.click("toggle button", "^Camera$")
        window.find("label", "^The camera cannot be used: .*/dev/video-none.*No such file")
        self.assertNotIn(Atspi.StateType.PRESSED, window.find("toggle button", "^Camera$").states)
        window.screenshot("no-camera")
        window = self.another(POLYGLANCE_CAMERA=f"-re -loop 1 -i {SAMPLES / 'octopus.jpg'}")
        window.key("alt+2")
        window.click("toggle button", "^Camera$")
        window.find("radio button", "^camera$")
        window.scores(lambda scores: best(scores) == "octopus")
        window.wait(lambda: [node for node in window.nodes() if re.search(r"^[\d.]+ frames/s$", node.name)], "a rate")
        reader = ["pgrep", "--parent", str(window.process.pid), "ffmpeg"]
        self.assertEqual(subprocess.run(reader, capture_output=True).returncode, 0)
        window.screenshot("camera")
        window.click("toggle button", "^Camera$")
        window.wait(lambda: subprocess.run(reader, capture_output=True).returncode == 1, "the end of ffmpeg")
        window.gone("label", "cannot be used")
        self.assertEqual(window.close(), 0)

    def test_a_folder_is_searched(self):
        window = self.window
        window.key("alt+4")
        window.find("push button", "^Choose a folder…$")
        window.screenshot("retrieve-welcome")
        copy(str(SAMPLES))
        window.key("ctrl+v")
        window.find("label", "^12 added or changed, 0 gone$")
        window.find("push button", "^bicycle.jpg$")

        def first():
            pictures = [node for node in window.nodes() if node.role == "push button" and re.search(r"\.jpg · ", node.name)]
            return min(pictures, key=lambda node: (node.rect[1], node.rect[0])).name.split(".jpg")[0] if pictures else None

        for query, expected in (("замок", "castle"), ("2: 자전거 + ./castle.jpg", "bicycle"), ("cat face - ./pizza.jpg", "cat-face")):
            window.replace("entry", "^Find$", query)
            window.wait(lambda: first() == expected, f"{expected} for {query}")
        window.click("check box", "^Scores$")
        window.screenshot("retrieve")
        window.click("push button", "^cat-face.jpg")
        window.find("label", r"^1 / 12 · cat-face.jpg · \d+ × \d+ · ")
        window.key("Right")
        window.find("label", "^2 / 12 · ")
        window.screenshot("retrieve-viewer")
        window.key("Left")
        window.find("label", "^1 / 12 · ")
        window.click("push button", "^Copy file$")
        window.wait(lambda: paste("text/uri-list").strip() == (SAMPLES / "cat-face.jpg").as_uri(), "the file on the clipboard")
        window.click("push button", "^Classify$")
        window.scores(lambda scores: best(scores) == "cat face")
        self.assertEqual(window.close(), 0)
        # It is there again, and nothing is looked at twice.
        self.tearDown()
        self.window = window = Window()
        window.key("alt+4")
        window.click("push button", "^Update$")
        window.find("label", "^0 added or changed, 0 gone$")
        window.click("toggle button", "^Map$")
        window.find("label", "^Map of 12 pictures, 0 chosen$")
        window.screenshot("map")
        self.assertEqual(window.close(), 0)

    def test_every_view_of_the_patches_is_painted(self):
        window = self.window
        window.click("toggle button", "^Features$")
        window.click("push button", "^castle$")
        picture = window.find("image", "^castle")
        seen = set()
        for view in [node.name for node in window.nodes() if node.role == "radio button" and node.name != "castle"]:
            window.click("radio button", f"^{re.escape(view)}$")
            if view == "Phrase":
                window.replace("entry", "^Phrase", "castle")
            window.wait(lambda: window.pixels(picture.rect) not in seen, f"the view {view}")
            window.find("push button", "^Save PNG$")
            # What is being painted is finished.
            last = None
            while last != (last := window.pixels(picture.rect)):
                time.sleep(0.3)
            seen.add(last)
            window.screenshot("features-" + re.sub(r"\W+", "-", view.lower()))
        self.assertGreaterEqual(len(seen), 6)
        self.assertEqual(window.close(), 0)

    def test_language_and_theme_change_at_once(self):
        window = self.window
        brightness = lambda: sum(window.pixels((760, 8, 40, 20)))
        dark = brightness()
        window.click("push button", "^Light$")
        window.find("push button", "^Dark$")
        window.wait(lambda: brightness() != dark, "another theme")
        window.click("push button", "^日本語$")
        window.find("push button", "^English$")
        window.find("toggle button", "^分類$")
        window.screenshot("japanese-light")
        self.assertEqual(window.close(), 0)

    def test_a_model_is_opened_from_its_folder(self):
        window = self.window
        model = ROOT / "tests/oracle/fixtures/models/naflex"
        window.click("push button", "^Model: ")
        window.screenshot("models")
        window.replace("entry", "^Open from the hub", str(model))
        window.key("Return")
        window.find("push button", "^Model: naflex")
        window.gone("label", "knows emoji")
        window.scores()
        self.assertEqual(window.close(), 0)


if __name__ == "__main__":
    outcome = unittest.main(testRunner=unittest.TextTestRunner(stream=sys.stdout, verbosity=2), exit=False).result
    failed = len(outcome.failures) + len(outcome.errors)
    # In the form of TAP, which `cargo xtask test` reads.
    print(f"# pass {outcome.testsRun - failed}\n# fail {failed}")
    sys.exit(failed > 0)
