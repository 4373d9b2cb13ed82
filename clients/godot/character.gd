# A character of `kinestream demo motion --websocket`: nodes and boxes from its bones, poses as they come, steering.
#
# The connection is opened again when it is lost. Places and turns are Godot's own: metres, right-handed, Y up.
extends Spatial

# The bones are there; what they are called is in `bones`.
signal introduced
# A pose has been applied; `pose` is what arrived.
signal posed
# No pose came for `stale_ms`: the program is gone, stands still or pauses. `problem` says so, and `pose` is empty again.
signal frozen
# The program said something else: {"accepted": ...} or {"error": ...}.
signal answered(answer)

const RETRY_MS = 1000

export var address = "ws://127.0.0.1:8750/pose"
# How old the newest pose may become, ms; 0: any age.
export var stale_ms = 500
# Thickness of the boxes, m.
export var thickness = 0.07

# Names to Spatial nodes.
var bones = {}
# The newest pose as it came; empty before the first, and once it is too old.
var pose = {}
# What went wrong last; empty if nothing did.
var problem = ""

var _client = null
var _is_open = false
var _is_lost = false
var _retry_at = 0
var _root = null
var _has_boxes = false
var _posed_at = 0


func _process(_delta):
	var age = OS.get_ticks_msec() - _posed_at
	if not pose.empty() and stale_ms > 0 and age > stale_ms:
		pose = {}
		problem = "the newest pose is %d ms old, allowed are %d: is the program still up?" % [age, stale_ms]
		emit_signal("frozen")
	if _client != null:
		_client.poll()
	if _is_lost:
		_client = null
		_is_open = false
		_is_lost = false
		_retry_at = OS.get_ticks_msec() + RETRY_MS
	elif _client == null and OS.get_ticks_msec() >= _retry_at:
		_open()


# Moves with a velocity along x and z, m/s, and looks along `facing` (0, 0: where it moves). It counts for half a second:
# say it again while it is meant. Whether it went out.
func steer(velocity, facing = Vector2()):
	return _say({"velocity": [velocity.x, velocity.y], "facing": [facing.x, facing.y]})


# Asks it to perform a clip; the reply comes as `answered`. Whether it went out.
func perform(action):
	return _say({"action": action})


func _open():
	_client = WebSocketClient.new()
	for event in ["connection_established", "connection_error", "connection_closed", "data_received"]:
		_client.connect(event, self, "_" + event)
	if _client.connect_to_url(address + "?axes=godot") != OK:
		problem = "cannot connect to " + address
		_is_lost = true


func _connection_established(_protocol):
	_is_open = true
	_client.get_peer(1).set_write_mode(WebSocketPeer.WRITE_MODE_TEXT)


func _connection_error():
	problem = "nobody answers at " + address
	_is_lost = true


func _connection_closed(_was_clean):
	problem = "the connection has ended"
	_is_lost = true


func _data_received():
	var text = _client.get_peer(1).get_packet().get_string_from_utf8()
	var read = JSON.parse(text)
	if read.error != OK or not read.result is Dictionary:
		problem = "a message is no JSON object: " + text.left(80)
	elif read.result.has("introduction"):
		_build(read.result.introduction)
	elif read.result.has("joints"):
		_apply(read.result)
	else:
		emit_signal("answered", read.result)


func _say(message):
	if not _is_open:
		return false
	return _client.get_peer(1).put_packet(JSON.print(message).to_utf8()) == OK


# One node per bone, each below its parent's, and all below one for the root on the ground.
func _build(introduction):
	if _root != null:
		_root.queue_free()
	_root = Spatial.new()
	_root.name = "Root"
	add_child(_root)
	bones = {}
	_has_boxes = false
	for bone in introduction.bones:
		var node = Spatial.new()
		node.name = bone.name
		var parent = _root if bone.parent == null else bones[bone.parent]
		parent.add_child(node)
		bones[bone.name] = node
	emit_signal("introduced")


func _apply(told):
	if _root == null:
		return
	_place(_root, told.root)
	for name in told.joints:
		if bones.has(name):
			_place(bones[name], told.joints[name])
	if not _has_boxes:
		_has_boxes = true
		for name in bones:
			if bones[name].get_parent() != _root:
				_add_box(bones[name])
	pose = told
	_posed_at = OS.get_ticks_msec()
	emit_signal("posed")


func _place(node, told):
	var at = told.position
	var turn = told.rotation
	var basis = Basis(Quat(turn[0], turn[1], turn[2], turn[3]).normalized())
	node.transform = Transform(basis, Vector3(at[0], at[1], at[2]))


# A box from the parent of a bone to the bone: places of bones on their parents stay as they are.
func _add_box(bone):
	var reach = bone.translation
	if reach.length() < 0.001:
		return
	var box = CubeMesh.new()
	box.size = Vector3(thickness, reach.length(), thickness)
	var shown = MeshInstance.new()
	shown.mesh = box
	var along = reach.normalized()
	# The shortest turn from +Y; any at all where it points down.
	var axis = Vector3.UP.cross(along)
	if axis.length() > 0.0001:
		shown.transform.basis = Basis(axis.normalized(), Vector3.UP.angle_to(along))
	shown.translation = 0.5 * reach
	bone.get_parent().add_child(shown)
