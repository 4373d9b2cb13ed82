# Plays the project without a screen against a running program and leaves with 0 if all went well:
#     KINESTREAM_ADDRESS=ws://127.0.0.1:8750/pose godot3-server --path clients/godot --script test.gd
extends SceneTree

const LIMIT_MS = 60000

var main = null
var answer = null
var begun = null
var steps = ["introduced", "posed", "walked", "answered", "frozen"]
var freezes = 0


func _init():
	main = load("res://main.tscn").instance()
	var address = OS.get_environment("KINESTREAM_ADDRESS")
	if address != "":
		main.get_node("Character").address = address
	main.get_node("Character").connect("answered", self, "_answered")
	main.get_node("Character").connect("frozen", self, "_froze")
	root.call_deferred("add_child", main)


func _answered(told):
	answer = told


func _froze():
	freezes += 1


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


# The test outside stops the program once it has read "answered".
func _frozen_yet(character):
	return freezes > 0 and character.pose.empty() and character.problem.begins_with("the newest pose is ")
