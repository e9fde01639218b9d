"""What holds of Human3.6M in every layout: persons of each split, and joints."""

SUBJECTS = {
    **dict.fromkeys(("S1", "S5", "S6", "S7", "S8"), "train"),
    **dict.fromkeys(("S9", "S11"), "test"),
}
JOINTS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)  # of 32, as in h36m17
LICENCE = "Human3.6M licence: research only, not to be passed on; http://vision.imar.ro/human3.6m"
