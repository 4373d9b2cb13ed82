# Plays the project without a screen against a running program and leaves with 0 if all went well:
#     KINESTREAM_ADDRESS=ws://127.0.0.1:8750/pose godot3-server --path clients/godot --script test.gd
extends SceneTree

const LIMIT_MS = 60000

var main = null
var answer = null
var begun = null
var steps = ["introduced", "posed", "walked", "answered"]


func _init():
	main = load("res://main.tscn").instance()
	var address = OS.get_environment("KINESTREAM_ADDRESS")
	if address != "":
		main.get_node("Character").address = address
	main.get_node("Character").connect("answered", self, "_answered")
	root.call_deferred("add_child", main)


func _answered(told):
	answer = told


func _idle(_delta):
	var character = main.get_node("Character")
	if call("_" + steps[0] + "_yet", character):
		print(steps.pop_front())
	if steps.empty():
		quit(0)
	elif OS.get_ticks_msec() > LIMIT_MS:
		printerr("never " + steps[0] + "; " + character.problem)
		quit(1)
	return false


func _introduced_yet(character):
	return character.bones.size() == 22


func _posed_yet(character):
	if character.pose.empty() or not character.pose.idle:
		return false
	begun = character.pose.root.position
	# Boxes for all bones but the hips, and the head above the ground.
	var boxes = 0
	for bone in character.bones.values():
		for child in bone.get_children():
			boxes += int(child is MeshInstance)
	var head = character.bones["Head"].global_transform.origin.y
	return boxes == 21 and head > 1.2 and head < 1.9


func _walked_yet(character):
	character.steer(Vector2(0, 1.4))
	return character.pose.root.position[2] - begun[2] > 0.5


func _answered_yet(character):
	if answer == null:
		character.perform("no such action")
		return false
	return answer.has("error")
